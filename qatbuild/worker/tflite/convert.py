"""Converts a frozen fake-quantized graph to the bytes of a .tflite file.

Only the converter of TF 1 (`tf.compat.v1.lite`) makes a true uint8 file; the V2 converter's uint8 is int8 with casts
around it. Neither refuses graphs whose .tflite computes wrong values or cannot be loaded, so they are refused here,
before the conversion. `inspect` and `gates` check the result.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import ConversionError
from qatbuild.worker import graph_def
from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.ends import Ends
from qatbuild.worker.tflite.fake_quant_nodes import (
    DEFAULT_BITS,
    FAKE_QUANTS,
    PER_CHANNEL,
    TRANSPARENT,
    bits_of,
    range_of,
)
from qatbuild.worker.tflite.trained_inputs import Converter, have_ranges

_log = logging.getLogger(__name__)

_LAYERS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
_SHOWN = 5


def convert(frozen_graph: Path, ends: Ends, *, scheme: str, float_layers: Collection[str] = ()) -> bytes:
    """Returns the bytes of the .tflite of a fake-quantized frozen GraphDef.

    The inputs' operations are placeholders, float32 [None, ...] of real values. In the file they are integers with the
    scale and zero point of `ends`. `scheme` is uint8, int8 or int8_per_channel; the weights of `float_layers` have no
    ranges. The batch is free, except that a file that would have to compute shapes from it has a batch of 1. Equal
    graphs give equal bytes. ConversionError if the graph's ranges do not fit the scheme, or if the converter fails.
    """
    graph = graph_def.read(frozen_graph, ConversionError)
    check_ranges(graph, scheme, float_layers)
    settings: dict[str, object] = {"inference_type": tf.uint8 if scheme == "uint8" else tf.int8}
    inputs, outputs = ([each.operation for each in side.values()] for side in ends)
    if have_ranges(graph, inputs):
        return _converted(frozen_graph, inputs, outputs, settings, Converter)
    stats = {each.operation: (each.zero_point, each.std_dev) for each in ends.inputs.values()}
    return _converted(frozen_graph, inputs, outputs, {**settings, "quantized_input_stats": stats})


def convert_float(frozen_graph: Path, *, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Returns the bytes of the float32 .tflite of a frozen GraphDef; ConversionError if the converter fails."""
    return _converted(frozen_graph, inputs, outputs, {})


def _converted(
    frozen_graph: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    settings: Mapping[str, object],
    kind: type[tf.compat.v1.lite.TFLiteConverter] = tf.compat.v1.lite.TFLiteConverter,
) -> bytes:
    """Converts for a batch of any size, or for one of 1 if the file would have to compute shapes from its size."""

    def converted(input_shapes: Mapping[str, Sequence[int]] | None = None) -> bytes:
        ends = list(inputs), list(outputs)
        try:
            converter = kind.from_frozen_graph(str(frozen_graph), *ends, input_shapes)
            for name, value in settings.items():
                setattr(converter, name, value)
            return bytes(converter.convert())
        except Exception as fault:
            raise _refused(frozen_graph, fault) from fault

    data = converted()
    if not inspect.computes_shapes(data):
        return data
    nodes = graph_def.nodes_by_name(graph_def.read(frozen_graph, ConversionError))
    shapes = {name: [size.size for size in nodes[name].attr["shape"].shape.dim[1:]] for name in inputs}
    return converted({name: [1, *shape] for name, shape in shapes.items()})


def _refused(frozen_graph: Path, fault: Exception) -> ConversionError:
    _log.error("The converter's full message:", exc_info=fault)
    facts: list[tuple[str, object]] = [("graph", frozen_graph.name), *_useful(str(fault))]
    hint = "The converter's full message is in the log."
    return ConversionError("TensorFlow's converter refused the frozen graph.", facts, hint)


def check_ranges(graph: Any, scheme: str, float_layers: Collection[str] = ()) -> None:
    """Raises a ConversionError for a GraphDef whose ranges the converter would silently turn into a wrong file.

    All weights need a range: for constants without one the converter chooses its own, and computes another network than
    the one that was trained. uint8 needs 8 bits per tensor; int8 needs weights with min = -max and narrow_range, per
    channel for convolutions only. One fact for each unfit op: ("conv1", "<op>: <why>").
    """
    scope = inspect.scope_of(node.name for node in graph.node if node.op in _LAYERS)
    named = ((inspect.layer_of(name, scope), why) for name, why in _unfit_ranges(graph, scheme))
    ends = tuple(f"/{layer}" for layer in float_layers)
    faults: list[tuple[str, object]] = [(layer, why) for layer, why in named if not f"/{layer}".endswith(ends)]
    if faults:
        hint = f'Train all ranges with "scheme": "{scheme}": uint8 is per tensor, int8 is symmetric.'
        raise ConversionError(f"The graph's ranges do not fit the scheme {scheme}.", faults, hint)


def _unfit_ranges(graph: Any, scheme: str) -> Iterator[tuple[str, str]]:
    """Yields (name, why) of each op whose range, or whose weights' range, does not fit the scheme."""
    nodes = graph_def.nodes_by_name(graph)
    constant = graph_def.constant_ops(graph.node, FAKE_QUANTS)
    for node in nodes.values():
        if node.op in FAKE_QUANTS and scheme == "uint8":
            if bits_of(node) != DEFAULT_BITS:
                yield node.name, f"{node.op}: {bits_of(node)} bits, which uint8 kernels compute wrongly"
            if node.op == PER_CHANNEL:
                yield node.name, f"{node.op}: no uint8 kernel loads it"
        if node.op in _LAYERS:
            weights = graph_def.source(nodes, node.input[1], TRANSPARENT)
            if weights.name in constant:
                yield node.name, f"{node.op}: its weights have no range (FakeQuant)"
            elif scheme == "uint8" or weights.op not in FAKE_QUANTS:
                continue
            elif weights.op == PER_CHANNEL and node.op == "MatMul":
                yield node.name, f"{weights.op}: dense weights must be per tensor"
            elif not _symmetric(nodes, weights):
                yield node.name, f"{weights.op}: the weights are not symmetric with narrow_range, as int8 kernels need"


def _symmetric(nodes: Mapping[str, Any], fake_quant: Any) -> bool:
    """Returns whether min = -max and narrow_range; a range that the graph computes is not checked."""
    if not fake_quant.attr["narrow_range"].b:
        return False
    ends = range_of(nodes, fake_quant)
    return ends is None or bool(np.allclose(ends[0], -ends[1], rtol=1e-5, atol=0))


def _useful(message: str) -> list[tuple[str, str]]:
    """Returns (op or label, text) of the lines of a converter's message that name a fault, without its dump."""
    facts = []
    for line in message.splitlines():
        error = re.search(r"error: (?:loc\((?P<place>.*?)\): )?(?P<text>.+)", line)
        if error and "failed while converting" not in error["text"]:
            names = re.findall(r'"([^"]*)"', error["place"] or "")
            facts.append((names[-1] if names else "error", error["text"]))
        elif line.startswith(("Custom ops:", "Flex ops:", "TF Select ops:")):
            label, _, ops = line.partition(": ")
            facts.append((label, ops))
    first = next((line for line in message.splitlines() if line.strip()), "no message")
    return list(dict.fromkeys(facts))[:_SHOWN] or [("error", first[:300])]
