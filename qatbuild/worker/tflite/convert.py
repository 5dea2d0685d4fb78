"""A frozen fake-quantized graph becomes the bytes of a .tflite file.

Only the converter of TF 1 (`tf.compat.v1.lite`) can make a true uint8 file; the V2 converter's uint8 is int8 with casts
around it. What neither of them refuses, although the result computes nonsense or does not load, is refused here, on
the graph, before the conversion. What comes out is judged by `inspect` and `gates`.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import ConversionError
from qatbuild.worker.tflite.inspect import layer_of, scope_of

_log = logging.getLogger(__name__)

_PER_CHANNEL = "FakeQuantWithMinMaxVarsPerChannel"
_FAKE_QUANTS = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", _PER_CHANNEL)
_LAYERS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
_TRANSPARENT = ("Identity", "Reshape", "Transpose")
_BITS = 8
_SHOWN = 5


def convert(
    frozen_graph: Path,
    *,
    input_name: str,
    output_name: str,
    mean: float,
    std_dev: float,
    scheme: str,
    float_layers: Collection[str] = (),
) -> bytes:
    """The .tflite file of a frozen GraphDef whose tensors carry fake quantization.

    `input_name` is a placeholder, float32 [None, height, width, channels] of real values (byte - mean) / std_dev; it
    becomes an integer input with scale 1 / std_dev whose zero point stands for `mean` (an integer, 0..255).
    `output_name` is the softmax, float32 [None, classes]. `scheme` is uint8, int8 or int8_per_channel; the weights of
    `float_layers` have no ranges. Equal graphs give equal bytes. Raises ConversionError if the graph's ranges do not
    fit the scheme, or the converter fails.
    """
    _check_input(mean, std_dev)
    check_ranges(_read(frozen_graph), scheme, float_layers)
    zero_point = int(mean) - (0 if scheme == "uint8" else 128)
    converter = _opened(frozen_graph, input_name, output_name)
    converter.inference_type = tf.uint8 if scheme == "uint8" else tf.int8
    converter.quantized_input_stats = {input_name: (zero_point, std_dev)}
    return _converted(converter, frozen_graph)


def convert_float(frozen_graph: Path, *, input_name: str, output_name: str) -> bytes:
    """The .tflite file of a frozen GraphDef in float32, without any quantization; ConversionError if there is none."""
    return _converted(_opened(frozen_graph, input_name, output_name), frozen_graph)


def _opened(frozen_graph: Path, input_name: str, output_name: str) -> Any:
    try:
        return tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(str(frozen_graph), [input_name], [output_name])
    except Exception as fault:
        raise _refused(frozen_graph, fault) from fault


def _converted(converter: Any, frozen_graph: Path) -> bytes:
    try:
        return bytes(converter.convert())
    except Exception as fault:
        raise _refused(frozen_graph, fault) from fault


def _refused(frozen_graph: Path, fault: Exception) -> ConversionError:
    _log.error("The converter's whole message:", exc_info=fault)
    facts: list[tuple[str, object]] = [("graph", frozen_graph.name), *_useful(str(fault))]
    hint = "The converter's whole message is in the log."
    return ConversionError("TensorFlow's converter refused the frozen graph.", facts, hint)


def check_ranges(graph: Any, scheme: str, float_layers: Collection[str] = ()) -> None:
    """Refuse a GraphDef whose ranges the converter would take without a word and turn into a wrong file.

    All weights need a range: for constants without one the converter chooses it by itself, and the graph that was
    trained and evaluated is another. uint8 takes 8 bits per tensor; int8 takes weights with min = -max and
    narrow_range, per channel for convolutions only. Raises ConversionError with one ("conv1", "<op>: <why>") for each
    offending op.
    """
    nodes = {node.name: node for node in graph.node}
    scope = scope_of(node.name for node in graph.node if node.op in _LAYERS)
    named = ((layer_of(name, scope), why) for name, why in _unfit_ranges(nodes, scheme))
    ends = tuple(f"/{layer}" for layer in float_layers)
    faults: list[tuple[str, object]] = [(layer, why) for layer, why in named if not f"/{layer}".endswith(ends)]
    if faults:
        cure = 'train all ranges, with the "scheme" that is asked for: uint8 is per tensor, int8 symmetric.'
        raise ConversionError(f"The graph's ranges do not fit the scheme {scheme}.", faults, cure)


def _unfit_ranges(nodes: Mapping[str, Any], scheme: str) -> Iterator[tuple[str, str]]:
    for node in nodes.values():
        if node.op in _FAKE_QUANTS and scheme == "uint8":
            bits = node.attr["num_bits"].i if "num_bits" in node.attr else _BITS
            if bits != _BITS:
                yield node.name, f"{node.op}: {bits} bits, which uint8 kernels compute wrongly"
            if node.op == _PER_CHANNEL:
                yield node.name, f"{node.op}: no uint8 kernel loads it"
        if node.op in _LAYERS:
            weights = _source(nodes, node.input[1])
            if _constant(nodes, weights):
                yield node.name, f"{node.op}: its weights have no range (FakeQuant)"
            elif scheme == "uint8" or weights.op not in _FAKE_QUANTS:
                continue
            elif weights.op == _PER_CHANNEL and node.op == "MatMul":
                yield node.name, f"{weights.op}: dense weights must be per tensor"
            elif not _symmetric(nodes, weights):
                yield node.name, f"{weights.op}: the weights are not symmetric with narrow_range, as int8 kernels need"


def _constant(nodes: Mapping[str, Any], node: Any) -> bool:
    """Whether an op's values are computed from constants alone, without fake quantization."""
    pending, seen = [node], set()
    while pending:
        each = pending.pop()
        if each.op in _FAKE_QUANTS or not (each.input or each.op == "Const"):
            return False
        seen.add(each.name)
        makers = (nodes[name.removeprefix("^").split(":")[0]] for name in each.input)
        pending += [maker for maker in makers if maker.name not in seen]
    return True


def _symmetric(nodes: Mapping[str, Any], fake_quant: Any) -> bool:
    """Whether min = -max and narrow_range; a range that is computed in the graph is left to the converter."""
    if not fake_quant.attr["narrow_range"].b:
        return False
    ends = [_source(nodes, name) for name in fake_quant.input[1:]]
    if not ends or any(end.op != "Const" for end in ends):
        return True
    low, high = (tf.make_ndarray(end.attr["value"].tensor) for end in ends)
    return bool(np.allclose(low, -high, rtol=1e-5, atol=0))


def _source(nodes: Mapping[str, Any], name: str) -> Any:
    """The op that a tensor's values come from, looked for through ops that only pass them on."""
    node = nodes[name.removeprefix("^").split(":")[0]]
    return _source(nodes, node.input[0]) if node.op in _TRANSPARENT else node


def _check_input(mean: float, std_dev: float) -> None:
    facts: list[tuple[str, object]] = [("mean", mean), ("std_dev", std_dev)]
    if not (float(mean).is_integer() and 0 <= mean < 2**_BITS):
        cure = '"mean": a whole number of 0..255; a fraction would shift the first layer\'s input (127.5 becomes 128).'
        raise ConversionError("input.mean becomes the input's zero point, which is a byte.", facts, cure)
    if not (math.isfinite(std_dev) and std_dev > 0):
        raise ConversionError("input.std_dev must be positive: the input's scale is 1 / std_dev.", facts)


def _read(frozen_graph: Path) -> Any:
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(frozen_graph.read_bytes())
    except Exception as fault:
        raise ConversionError("The frozen graph cannot be read.", [("file", frozen_graph), ("why", fault)]) from fault
    return graph


def _useful(message: str) -> list[tuple[str, str]]:
    """The lines of a converter's message that say what is wrong and where: not the dump of the whole module."""
    facts = []
    for line in message.splitlines():
        found = re.search(r"error: (?:loc\((?P<place>.*?)\): )?(?P<text>.+)", line)
        if found and "failed while converting" not in found["text"]:
            names = re.findall(r'"([^"]*)"', found["place"] or "")
            facts.append((names[-1] if names else "error", found["text"]))
        elif line.startswith(("Custom ops:", "Flex ops:", "TF Select ops:")):
            label, _, ops = line.partition(": ")
            facts.append((label, ops))
    first = next((line for line in message.splitlines() if line.strip()), "no message")
    return list(dict.fromkeys(facts))[:_SHOWN] or [("error", first[:300])]
