"""Reading a network as the integer runtime computes it: step by step, each with the origin of its output's range.

A convolution, its bias and its activation are one step, and its range belongs to the end of it: nothing inside is
rounded. A step whose rule is not known would be computed in float; it becomes an offence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import tensorflow as tf

from qatbuild.quantize.batch_norm.find import BatchNorm, Unfoldable
from qatbuild.quantize.integer.hard_swish import hard_swish_input
from qatbuild.quantize.integer.ops import (
    ARITHMETIC,
    FIXED,
    HAS_OWN_RANGE,
    JOINS,
    MOVES,
    ROUNDS_AS_ITS_INPUT,
    SPLITS,
    UNREAD_PARTS,
    WEIGHTS_OPERAND,
    kind,
    reason,
)
from qatbuild.quantize.integer.path import Path
from qatbuild.quantize.tf1.layers import ACTIVATION_TYPES

_ATROUS = "between SpaceToBatchND and BatchToSpaceND, with any number of images, the converter computes it in float"

Rule = Literal["own", "same", "moved", "joined", "fixed"]


@dataclass(frozen=True)
class Step:
    """One step of the integer runtime.

    `rule` says what its output's codes mean: a range of its "own"; the "same" as its input's, and rounded to them; the
    same without any rounding ("moved"); one that all its inputs share ("joined"); or one that the runtime dictates
    ("fixed"). `output` is where the step is complete. `operands` are the constants among its inputs that need ranges.
    A layer has weights: `weighted` is the operation that reads them, `bias` what is added to its result, `norm` the
    batch norm that becomes part of it.
    """

    layer: str
    operation: tf.Operation
    rule: Rule
    sources: tuple[tf.Tensor, ...]
    output: tf.Tensor
    role: str = ""
    operands: tuple[tf.Tensor, ...] = ()
    weighted: tf.Operation | None = None
    bias: tf.Tensor | None = None
    norm: BatchNorm | Unfoldable | None = None

    @property
    def is_layer(self) -> bool:
        """Whether it computes with weights."""
        return self.weighted is not None or self.norm is not None


@dataclass(frozen=True)
class Offence:
    """An operation that would be computed in float: its layer's name within the network, its kind, and why."""

    layer: str
    kind: str
    why: str
    operation: tf.Operation | None = field(default=None, compare=False)


def read(path: Path, *, training: bool) -> tuple[list[Step], list[Offence]]:
    """The steps of a path in the order in which they compute, and what is none.

    In a training graph dropout, or noise, is a step that moves its input's values, although it does not.
    """
    steps: list[Step] = []
    offences: list[Offence] = []
    done: set[tf.Operation] = set()
    for operation in path.operations:
        if operation not in done:
            found = _step(path, operation, done, training=training)
            if isinstance(found, Offence):
                offences.append(found)
            else:
                steps.append(found)
    return steps, offences


def _step(path: Path, operation: tf.Operation, done: set[tf.Operation], *, training: bool) -> Step | Offence:
    layer = path.layer(operation)
    if operation in path.folded or operation in path.standing:
        return _normalized(path, operation, done)
    if _is_noise(path, operation):
        if not training:
            return Offence(layer, "Dropout", reason("Dropout"), operation)
        return Step(layer, operation, "moved", path.sources[operation], operation.outputs[0])
    if hard_swish_input(operation) is not None:
        return Step(layer, operation, "own", path.sources[operation], operation.outputs[0], "hard_swish_quant")
    why = _why_not(path, operation)
    if why:
        return Offence(layer, kind(operation), why, operation)
    if operation.type in WEIGHTS_OPERAND:
        return _layer(path, operation, done)
    rules: dict[Rule, frozenset[str]] = {
        "own": ARITHMETIC | HAS_OWN_RANGE, "same": ROUNDS_AS_ITS_INPUT, "moved": MOVES, "joined": JOINS,
        "fixed": frozenset(FIXED),
    }  # fmt: skip
    rule = next(rule for rule, types in rules.items() if operation.type in types)
    end = operation.outputs[0]
    operands: tuple[tf.Tensor, ...] = ()
    if operation.type in ARITHMETIC:
        end = _through_activation(path, end, done)
        # A single number has an exact code, at the end of its range; of several the ends alone have.
        operands = tuple(each for each in _constants(path, operation) if each.shape.num_elements() != 1)
    return Step(layer, operation, rule, path.sources[operation], end, f"{_spoken(operation.type)}_quant", operands)


def _layer(path: Path, operation: tf.Operation, done: set[tf.Operation]) -> Step:
    """A layer, with the addition of its bias and its activation."""
    end = _passed(path, operation.outputs[0], done)
    reader, bias = path.only_reader(end), None
    if reader is not None and _adds_bias(path, reader):
        done.add(reader)
        (bias,) = _constants(path, reader)
        end = reader.outputs[0]
    end = _through_activation(path, end, done)
    sources = path.sources[operation]
    return Step(path.layer(operation), operation, "own", sources, end, "act_quant", weighted=operation, bias=bias)


def _normalized(path: Path, operation: tf.Operation, done: set[tf.Operation]) -> Step | Offence:
    """A layer with its batch norm, or a batch norm that stands alone and becomes a layer itself."""
    norm = path.folded.get(operation) or path.standing[operation]
    if isinstance(norm, BatchNorm):
        result, named = norm.result, norm.layer
        if any(each.type == "BatchToSpaceND" for each in norm.between):
            return Offence(path.layer(named), kind(named), _ATROUS, named)
    else:
        result, named = norm.operation.outputs[0], norm.operation
        why = norm.why if not norm.alone else "" if _has_channels(norm.x) else f"{norm.why}, and it has no 4 dimensions"
        if why:
            return Offence(path.layer(named), "BatchNorm", f"{why}; {reason('BatchNorm')}", named)
    end = _through_activation(path, result, done)
    weighted = named if isinstance(norm, BatchNorm) else None
    sources = path.sources[operation]
    return Step(path.layer(named), named, "own", sources, end, "act_quant", weighted=weighted, norm=norm)


def _why_not(path: Path, operation: tf.Operation) -> str:
    """Why an operation is no step; '' if it is one."""
    name = kind(operation)
    known = {*ARITHMETIC, *HAS_OWN_RANGE, *ROUNDS_AS_ITS_INPUT, *MOVES, *JOINS, *FIXED, *WEIGHTS_OPERAND}
    if name != operation.type or operation.type not in known:
        return reason(name)
    if operation.node_def.attr["data_format"].s == b"NCHW":
        return "it has its channels first (NCHW)"
    sources = path.sources[operation]
    unread = [each for each in operation.outputs if each.name not in path.readers and each is not path.logits]
    if operation.type in SPLITS and unread:
        return UNREAD_PARTS
    if operation.type in WEIGHTS_OPERAND:
        if any(each.type == "BatchToSpaceND" for each in path.readers.get(operation.outputs[0].name, ())):
            return _ATROUS
        if not sources:
            return "the network's values are its weights: they must come as the other operand"
        if operation.inputs[WEIGHTS_OPERAND[operation.type]].name in {tensor.name for tensor in sources}:
            return "both its operands are the network's values"
    if operation.type in {"Maximum", "Minimum"} and len(sources) < 2:  # noqa: PLR2004 - it compares with a constant
        return f"it has no integer form that compares with a constant; {reason(name)}"
    if operation.type == "RealDiv" and not (
        len(sources) == 1 and sources[0] is operation.inputs[0] and operation.inputs[1].op.type == "Const"
    ):
        return "division by anything but a constant is computed in float"
    return ""


def _is_noise(path: Path, operation: tf.Operation) -> bool:
    """Whether an operation brings in random numbers, or only prepares for one that does (dropout's scaling)."""
    if operation in path.random:
        return True
    readers = path.readers.get(operation.outputs[0].name, ())
    scales = operation.type in {"Mul", "RealDiv"} and len(path.sources[operation]) == 1
    return scales and bool(readers) and all(each in path.random for each in readers)


def _passed(path: Path, tensor: tf.Tensor, done: set[tf.Operation]) -> tf.Tensor:
    """The tensor behind any Identity that alone reads it."""
    reader = path.only_reader(tensor)
    while reader is not None and reader.type == "Identity" and reader not in path.folded:
        done.add(reader)
        tensor = reader.outputs[0]
        reader = path.only_reader(tensor)
    return tensor


def _through_activation(path: Path, tensor: tf.Tensor, done: set[tf.Operation]) -> tf.Tensor:
    passed: set[tf.Operation] = set()
    behind = _passed(path, tensor, passed)
    reader = path.only_reader(behind)
    if reader is None or reader.type not in ACTIVATION_TYPES:
        return tensor
    done.update(passed, {reader})
    return reader.outputs[0]


def _adds_bias(path: Path, operation: tf.Operation) -> bool:
    if operation in path.folded or operation in path.standing or operation.type not in {"BiasAdd", "Add", "AddV2"}:
        return False
    channels = operation.outputs[0].shape[-1]
    constants = list(_constants(path, operation))
    return len(constants) == 1 and channels is not None and constants[0].shape.num_elements() in {1, channels}


def _constants(path: Path, operation: tf.Operation) -> Iterator[tf.Tensor]:
    """The float operands that carry none of the network's values."""
    sources = {tensor.name for tensor in path.sources[operation]}
    return (tensor for tensor in operation.inputs if tensor.dtype.is_floating and tensor.name not in sources)


def _has_channels(x: tf.Tensor | None) -> bool:
    return x is not None and x.shape.rank == 4 and x.shape[-1] is not None  # noqa: PLR2004 - [batch, height, width, channels]


def _spoken(name: str) -> str:
    """`leaky_relu` of "LeakyRelu", `add` of "AddV2"."""
    letters = "".join(f"_{each.lower()}" if each.isupper() else each for each in name.removesuffix("V2"))
    return letters.lstrip("_")
