"""Which tensor of a TensorFlow graph a tensor of its .tflite stands for.

The converter names a fused tensor by its operations, joined with semicolons: "conv1/Relu;conv1/BiasAdd;conv1/Conv2D".
The deepest of these in the graph gave its values; the FakeQuant behind it gave its scale and zero point, and only one
that gives the same is believed. Names are those of TensorFlow's tensors ("conv1/Relu:0").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from qatbuild.worker.tflite.affine import quant_params
from qatbuild.worker.tflite.inspect import Tensor

_FAKE_QUANTS = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs")
_ALL_FAKE_QUANTS = (*_FAKE_QUANTS, "FakeQuantWithMinMaxVarsPerChannel")
_FUSED = ("BiasAdd", "Add", "AddV2", "Relu", "Relu6")
_ROUNDS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BiasAdd", "Add", "AddV2", "Sub", "Mul", "Relu", "Relu6")
"""Operations whose result has a range of its own, so that without its FakeQuant they are no partner."""
_TOLERANCE = 1e-3


@dataclass
class Network:
    """A frozen GraphDef, indexed."""

    definition: Any
    nodes: dict[str, Any] = field(init=False)
    takers: dict[str, list[tuple[Any, int]]] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = {node.name: node for node in self.definition.node}
        self.takers = {}
        for node in self.definition.node:
            for slot, name in enumerate(node.input):
                self.takers.setdefault(_operation(name), []).append((node, slot))
        self._depths: dict[str, int] = {}

    def depth(self, name: str) -> int:
        """The length of the longest path from an input or constant to an operation."""
        pending = [name]
        while pending:
            inputs = [_operation(each) for each in self.nodes[pending[-1]].input]
            missing = [each for each in inputs if each not in self._depths]
            if missing:
                pending += missing
            else:
                self._depths[pending.pop()] = 1 + max((self._depths[each] for each in inputs), default=0)
        return self._depths[name]

    def constant(self, name: str) -> bool:
        """Whether an operation's values do not depend on an input of the graph."""
        pending, seen = [name], {name}
        while pending:
            node = self.nodes[pending.pop()]
            if node.op == "Placeholder":
                return False
            makers = {_operation(each) for each in node.input} - seen
            seen |= makers
            pending += makers
        return True

    def source(self, name: str) -> str:
        """The operation whose values an operation gives, before fake quantization."""
        node = self.nodes[name]
        while node.op in (*_ALL_FAKE_QUANTS, "Identity"):
            node = self.nodes[_operation(node.input[0])]
        return str(node.name)


def partner(tensor: Tensor, network: Network) -> str | None:
    """The fake-quantized graph's tensor with the values of a .tflite's tensor; None if there is none for sure."""
    named = [part.partition(":")[0] for part in tensor.name.split(";")]
    known = [name for name in named if name in network.nodes]
    if not known or not tensor.scales:
        return None
    deepest = max(known, key=network.depth)
    for name in _behind(network, deepest):
        if network.nodes[name].op in _FAKE_QUANTS and _same_scale(network, network.nodes[name], tensor):
            return f"{name}:0"
    return None if network.nodes[deepest].op in _ROUNDS else f"{deepest}:0"


def float_partner(name: str, network: Network, floats: Network) -> str | None:
    """The float graph's tensor that stands where `name`, a tensor of the fake-quantized graph, does.

    That is what the same operation reads there, or what the same operation gives.
    """
    source = network.source(_operation(name))
    for taker, slot in _takers(network, source):
        same = floats.nodes.get(taker.name)
        if same is not None and same.op == taker.op:
            return f"{floats.source(_operation(same.input[slot]))}:0"
    same = floats.nodes.get(source)
    return f"{source}:0" if same is not None and same.op == network.nodes[source].op else None


def isolated(network: Network, givens: Mapping[str, tuple[str, tuple[int, ...]]]) -> Any:
    """A GraphDef in which what takes a tensor takes a new placeholder instead.

    `givens`: tensor -> (name of the placeholder, shape without batch). So each layer computes from values of one's own.
    """
    result = tf.compat.v1.GraphDef()
    result.CopyFrom(network.definition)
    for node in result.node:
        for slot, name in enumerate(node.input):
            if not name.startswith("^") and _tensor(name) in givens:
                node.input[slot] = givens[_tensor(name)][0]
    for name, shape in givens.values():
        added = result.node.add(name=name, op="Placeholder")
        added.attr["dtype"].type = tf.float32.as_datatype_enum
        added.attr["shape"].shape.CopyFrom(tf.TensorShape([None, *shape]).as_proto())
    return result


def without_fake_quants(definition: Any) -> Any:
    """The GraphDef with every FakeQuant turned into an Identity: the same weights, in float."""
    result = tf.compat.v1.GraphDef()
    result.CopyFrom(definition)
    for node in result.node:
        if node.op in _ALL_FAKE_QUANTS:
            kept = node.input[0]
            node.ClearField("input")
            node.ClearField("attr")
            node.op = "Identity"
            node.input.append(kept)
            node.attr["T"].type = tf.float32.as_datatype_enum
    return result


def _behind(network: Network, start: str) -> Iterator[str]:
    """An operation and those that only finish its values, nearest first: a range, or after a layer its bias, ReLU."""
    pending, seen = [start], {start}
    rounds = network.nodes[start].op in _ROUNDS
    while pending:
        name = pending.pop(0)
        yield name
        for taker, slot in network.takers.get(name, []):
            finishes = (taker.op in _FAKE_QUANTS and slot == 0) or taker.op == "Identity"
            if rounds and taker.op in _FUSED:
                others = [_operation(each) for at, each in enumerate(taker.input) if at != slot]
                finishes = all(network.constant(other) for other in others)
            if finishes and taker.name not in seen:
                seen.add(taker.name)
                pending.append(taker.name)


def _takers(network: Network, source: str) -> Iterator[tuple[Any, int]]:
    """What reads an operation's values, also through fake quantization."""
    for taker, slot in network.takers.get(source, []):
        if taker.op in (*_ALL_FAKE_QUANTS, "Identity"):
            yield from _takers(network, taker.name)
        else:
            yield taker, slot


def _same_scale(network: Network, node: Any, tensor: Tensor) -> bool:
    ends = _ends(network, node)
    if ends is None or not ends[0] < ends[1]:
        return False
    bits = node.attr["num_bits"].i if "num_bits" in node.attr else 8
    form = quant_params(*ends, bits, narrow_range=node.attr["narrow_range"].b)
    shift = 128 if tensor.dtype == "int8" else 0
    same = math.isclose(float(form.scale), tensor.scales[0], rel_tol=_TOLERANCE)
    return same and abs(int(form.zero_point) - shift - tensor.zero_points[0]) <= 1


def _ends(network: Network, node: Any) -> tuple[float, float] | None:
    if node.op == "FakeQuantWithMinMaxArgs":
        return node.attr["min"].f, node.attr["max"].f
    low, high = (network.nodes[network.source(_operation(name))] for name in node.input[1:3])
    if low.op != "Const" or high.op != "Const":
        return None
    return float(tf.make_ndarray(low.attr["value"].tensor)), float(tf.make_ndarray(high.attr["value"].tensor))


def _operation(name: str) -> str:
    return name.removeprefix("^").partition(":")[0]


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"
