"""Errors for graphs of TensorFlow whose operations cannot be a network, with hints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import tensorflow as tf

from qatbuild.exchange.errors import Facts, StageError

_LISTED = 10
_PREPARES = (
    "Decode", "Parse", "String", "LookupTable", "HashTable", "MutableHashTable", "InitializeTable", "RegexReplace",
    "StaticRegexReplace", "Substr", "Unicode", "AsString", "ReadFile", "AudioSpectrogram", "Mfcc", "Bucketize",
    "ExtractJpegShape",
)  # fmt: skip
_BRANCHES = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
_LOOPS = frozenset({"While", "StatelessWhile", "For", "Enter", "NextIteration", "TensorListFromTensor"})
_RECURRENT = frozenset({"CudnnRNN", "CudnnRNNV2", "CudnnRNNV3", "BlockLSTM", "GRUBlockCell", "LSTMBlockCell"})

Node: TypeAlias = tf.compat.v1.NodeDef


def check_preparation(nodes: Iterable[Node], facts: Facts) -> None:
    """Raises StageError if nodes decode, parse or look up values: integers begin behind that."""
    rows = [(node.op, node.name) for node in nodes if node.op.startswith(_PREPARES)]
    if rows:
        raise StageError("The graph prepares its inputs itself.", [*facts, *rows[:_LISTED]], _BEHIND)


def check_control_flow(nodes: Iterable[Node], facts: Facts) -> None:
    """Raises StageError for loops and branches, which have no integer form."""
    looped = [node for node in nodes if node.op in _LOOPS | _RECURRENT | _BRANCHES]
    if looped:
        rows = [(node.op, node.name) for node in looped[:_LISTED]]
        hint = "Build it without loops and branches, such as convolutions over time, and export it again."
        raise StageError("The graph has loops or branches, which integers cannot run.", [*facts, *rows], hint)


def fed(nodes: list[Node], facts: Facts) -> StageError:
    """Returns the error for a graph that reads more than the spec's inputs and its variables."""
    rows = [(node.op, node.name) for node in nodes[:_LISTED]]
    hint = "Set model.input to the tensor of real images behind the input pipeline, in an inference graph."
    return StageError("The network has other inputs than the images.", [*facts, *rows], hint)


def in_training(nodes: list[Node], kind: str, facts: Facts) -> StageError:
    """Returns the error for a graph whose batch norms normalize with the batch."""
    rows = [(node.op, node.name) for node in nodes[:_LISTED]]
    hint = "Build the network with is_training=False, and export its graph with Saver.export_meta_graph."
    if kind != "meta graph":
        hint = "Export the network for inference: training=False, is_training=False."
    message = f"The {kind} is a training graph: its batch norms use the batch's statistics."
    return StageError(message, [*facts, *rows], hint)


def check_type(name: str, dtype: tf.DType | None, behind: Mapping[str, str], facts: Facts) -> None:
    """Raises StageError unless an input holds float32; `behind` are tensors of real values and their operations."""
    if dtype in (None, tf.float32):
        return
    rows = [("input", f"{name}: {dtype.name}"), *((f"real values after {op}", tensor) for tensor, op in behind.items())]
    raise StageError("The graph does not take real values.", [*facts, *rows], _BEHIND)


_BEHIND = (
    'Prepare the dataset instead, and name the tensor of real values behind that step: "inputs": {"images": "TENSOR"}. '
    'With "mean": 0 and "std_dev": 1 it gets the bytes as they are.'
)
