"""Pairs of tensors: the tensor of a TensorFlow graph that a tensor of its .tflite stands for.

The converter names a fused tensor by its operations, joined with semicolons: "conv1/Relu;conv1/BiasAdd;conv1/Conv2D".
The deepest of these operations in the graph gave the values; the FakeQuant behind it gave scale and zero point, and it
is accepted only if these agree. A name that is taken in the .tflite gets a number, "conv1/Conv2D1". Names are those of
TensorFlow's tensors ("conv1/Relu:0").
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import tensorflow as tf

from qatbuild.worker import graph_outputs
from qatbuild.worker.graph_def import constant_ops, nodes_by_name, op_name, source
from qatbuild.worker.tflite.affine import quant_params
from qatbuild.worker.tflite.fake_quant_nodes import FAKE_QUANTS, PER_TENSOR, bits_of, range_of
from qatbuild.worker.tflite.inspect import Tensor

_FUSED = ("BiasAdd", "Add", "AddV2", "Relu", "Relu6")
_HAS_OWN_RANGE = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BiasAdd", "Add", "AddV2", "Sub", "Mul", "Relu", "Relu6")
"""Operations that are no partner without a FakeQuant: the range of their result is their own."""
_TOLERANCE = 1e-3


@dataclass
class IndexedGraph:
    """A frozen GraphDef with its nodes by name, and the (node, input index) pairs that read each node."""

    definition: Any
    nodes: dict[str, Any] = field(init=False)
    readers: dict[str, list[tuple[Any, int]]] = field(init=False)
    constants: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = nodes_by_name(self.definition)
        self.constants = constant_ops(self.definition.node)
        self.readers = {}
        for node in self.definition.node:
            for index, name in enumerate(node.input):
                self.readers.setdefault(op_name(name), []).append((node, index))
        self._depths: dict[str, int] = {}

    def depth(self, name: str) -> int:
        """Returns the length of the longest path from an input or constant to an operation."""
        pending = [name]
        while pending:
            inputs = [op_name(each) for each in self.nodes[pending[-1]].input]
            missing = [each for each in inputs if each not in self._depths]
            if missing:
                pending += missing
            else:
                self._depths[pending.pop()] = 1 + max((self._depths[each] for each in inputs), default=0)
        return self._depths[name]

    @cached_property
    def graph(self) -> tf.Graph:
        """The graph, imported once."""
        return graph_outputs.imported(self.definition)

    def batch_first(self, tensor: str) -> bool:
        """Returns whether a tensor has a row, or some rows, for each image: its first dimension is the batch's."""
        shape = self.graph.get_tensor_by_name(tensor).shape
        return shape.rank is None or (shape.rank > 0 and shape[0] is None)

    def placeholders(self, name: str) -> set[str]:
        """Returns the names of the placeholders that an operation is computed of.

        Of an IdentityN, as behind a function with its own gradient (tf.nn.silu), only the value that is read counts.
        """
        pending, seen = [name], {name}
        while pending:
            tensor = pending.pop()
            node = self.nodes[op_name(tensor)]
            read = [node.input[_output_of(tensor)]] if node.op == "IdentityN" else node.input
            pending += set(read) - seen
            seen.update(read)
        return {each for each in map(op_name, seen) if self.nodes[each].op == "Placeholder"}

    def source(self, name: str) -> str:
        """Returns the operation that computes the values of `name`, without fake quantization."""
        return str(source(self.nodes, name, (*FAKE_QUANTS, "Identity")).name)


def partner(tensor: Tensor, graph: IndexedGraph) -> str | None:
    """Returns the tensor of the fake-quantized graph with the values of a .tflite's tensor; None if uncertain."""
    parts = [part.partition(":")[0] for part in tensor.name.split(";")]
    parts[-1] = _unnumbered(parts[-1], graph)
    names = [name for name in parts if name in graph.nodes]
    if not names or not tensor.scales:
        return None
    deepest = max(names, key=graph.depth)
    for name in _behind(graph, deepest):
        if graph.nodes[name].op in PER_TENSOR and _same_scale(graph, graph.nodes[name], tensor):
            return f"{name}:0"
    return None if graph.nodes[deepest].op in _HAS_OWN_RANGE else f"{deepest}:0"


def _unnumbered(name: str, graph: IndexedGraph) -> str:
    """Returns a tensor's name without the number behind it that is not its operation's."""
    shorter = name
    while shorter not in graph.nodes and shorter[-1:].isdigit():
        shorter = shorter[:-1]
    return shorter if shorter in graph.nodes else name


def float_partner(name: str, graph: IndexedGraph, floats: IndexedGraph) -> str | None:
    """Returns the tensor of the float graph that corresponds to `name`, a tensor of the fake-quantized graph.

    It is the tensor that the same operation reads in the float graph, or else the output of the same operation.
    """
    origin = graph.source(op_name(name))
    for reader, index in _readers_behind_fake_quants(graph, origin):
        same = floats.nodes.get(reader.name)
        if same is not None and same.op == reader.op:
            return f"{floats.source(op_name(same.input[index]))}:0"
    same = floats.nodes.get(origin)
    return f"{origin}:0" if same is not None and same.op == graph.nodes[origin].op else None


def isolated(graph: IndexedGraph, placeholders: Mapping[str, tuple[str, tuple[int, ...]]]) -> Any:
    """Returns a GraphDef in which readers of some tensors read new placeholders, so that layers get chosen inputs.

    `placeholders`: tensor -> (name of its placeholder, shape without the batch dimension).
    """
    result = tf.compat.v1.GraphDef()
    result.CopyFrom(graph.definition)
    for node in result.node:
        for index, name in enumerate(node.input):
            if not name.startswith("^") and _tensor(name) in placeholders:
                node.input[index] = placeholders[_tensor(name)][0]
    for name, shape in placeholders.values():
        added = result.node.add(name=name, op="Placeholder")
        added.attr["dtype"].type = tf.float32.as_datatype_enum
        added.attr["shape"].shape.CopyFrom(tf.TensorShape([None, *shape]).as_proto())
    return result


def without_fake_quants(definition: Any) -> Any:
    """Returns the GraphDef with every FakeQuant replaced by an Identity: the same weights, in float."""
    result = tf.compat.v1.GraphDef()
    result.CopyFrom(definition)
    for node in result.node:
        if node.op in FAKE_QUANTS:
            values = node.input[0]
            node.ClearField("input")
            node.ClearField("attr")
            node.op = "Identity"
            node.input.append(values)
            node.attr["T"].type = tf.float32.as_datatype_enum
    return result


def _behind(graph: IndexedGraph, start: str) -> Iterator[str]:
    """Yields an operation and those that complete its values, nearest first: FakeQuant; a layer's bias and ReLU."""
    pending, seen = [start], {start}
    fusible = graph.nodes[start].op in _HAS_OWN_RANGE
    while pending:
        name = pending.pop(0)
        yield name
        for reader, index in graph.readers.get(name, []):
            completes = (reader.op in PER_TENSOR and index == 0) or reader.op == "Identity"
            if fusible and reader.op in _FUSED:
                others = [op_name(each) for at, each in enumerate(reader.input) if at != index]
                completes = graph.constants.issuperset(others)
            if completes and reader.name not in seen:
                seen.add(reader.name)
                pending.append(reader.name)


def _readers_behind_fake_quants(graph: IndexedGraph, name: str) -> Iterator[tuple[Any, int]]:
    """Yields the (node, input index) pairs that read an operation's values, directly or through fake quantization."""
    for reader, index in graph.readers.get(name, []):
        if reader.op in (*FAKE_QUANTS, "Identity"):
            yield from _readers_behind_fake_quants(graph, reader.name)
        else:
            yield reader, index


def _same_scale(graph: IndexedGraph, node: Any, tensor: Tensor) -> bool:
    """Returns whether a FakeQuant node gives the scale and zero point of a .tflite's tensor."""
    ends = range_of(graph.nodes, node)
    if ends is None or not ends[0] < ends[1]:
        return False
    params = quant_params(*ends, bits_of(node), narrow_range=node.attr["narrow_range"].b)
    shift = 128 if tensor.dtype == "int8" else 0
    same = math.isclose(float(params.scale), tensor.scales[0], rel_tol=_TOLERANCE)
    return same and abs(int(params.zero_point) - shift - tensor.zero_points[0]) <= 1


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _output_of(tensor: str) -> int:
    """Returns which output of its operation a tensor is: 1 for "cond:1", 0 for "conv1"."""
    return int(tensor.partition(":")[2] or 0)
