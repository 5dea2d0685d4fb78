"""Frozen graphs, whose weights are constants, as networks: see graph_network and graph_cut.

The constants that are kernels, biases, and scales, offsets and moments of batch norms become variables of the same
names again, which begin with these values: so training changes them, and calibration does not. Others, such as a factor
of the inputs, stay constants.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.networks import GraphDef
from qatbuild.worker import graph_def
from qatbuild.worker.models import called_functions, foreign_files, graph_network
from qatbuild.worker.models.graph_network import Graph

_KERNELS = {
    "Conv2D": (1,), "DepthwiseConv2dNative": (1,), "Conv2DBackpropInput": (1,), "MatMul": (0, 1), "BatchMatMulV2": (1,),
    "BiasAdd": (1,), "FusedBatchNorm": (1, 2), "FusedBatchNormV2": (1, 2), "FusedBatchNormV3": (1, 2),
}  # fmt: skip
_MOMENTS = {"FusedBatchNorm": (3, 4), "FusedBatchNormV2": (3, 4), "FusedBatchNormV3": (3, 4)}
_SUMS = frozenset({"Add", "AddV2"})
_SUMMED = frozenset({"Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MatMul", "BatchMatMulV2"})
_SAME = frozenset({
    "Identity", "ReadVariableOp", "ExpandDims", "Reshape", "Squeeze", "FakeQuantWithMinMaxVars",
    "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel",
})  # fmt: skip
_HEADS = frozenset({"Placeholder", "PlaceholderWithDefault"})

Values = dict[str, np.ndarray[Any, Any]]
Node: TypeAlias = tf.compat.v1.NodeDef


def build(inputs: Mapping[str, tf.Tensor], network: GraphDef, ends: Mapping[str, str]) -> dict[str, tf.Tensor]:
    """Adds the network of a frozen graph to the graph of the inputs; returns its outputs by name: see graph_network."""
    graph, _ = _read(network.path)
    cut_at = (network.inputs, network.outputs)
    if None in cut_at:
        _offer(graph, cut_at, len(inputs), len(ends))
    return graph_network.build(inputs, graph, cut_at, ends)


def values(network: GraphDef) -> Values:
    """Returns the values of the variables by name."""
    return dict(_read(network.path)[1])


def _read(path: Path) -> tuple[Graph, Values]:
    return _read_once(path, path.stat().st_mtime_ns if path.is_file() else 0)


@functools.lru_cache(maxsize=1)
def _read_once(path: Path, _mtime_ns: int) -> tuple[Graph, Values]:
    if not path.is_file():
        message = "The graph is a folder." if path.is_dir() else "The graph does not exist."
        hint = (
            'Name a folder with saved_model.pb as "saved_model".'
            if path.is_dir()
            else "The path is relative to the spec."
        )
        raise StageError(message, [("model.graph_def", path)], hint)
    foreign_files.check(path, "model.graph_def")
    try:
        definition = graph_def.read(path)
    except StageError as fault:
        raise foreign_files.unreadable(path, "model.graph_def", "The file is not a frozen graph.") from fault
    if not any(node.op for node in definition.node):
        raise foreign_files.unreadable(path, "model.graph_def", "The file is not a frozen graph.")
    definition, results = called_functions.inlined(definition)
    weights = {node.name: trained for node, trained in _weights(definition)}
    read: Values = {}
    for node in definition.node:
        if node.name in weights:
            read[node.name] = graph_def.constant(node)
            node.CopyFrom(_variable(node, read[node.name].shape))
    trained = frozenset(name for name, each in weights.items() if each)
    graph = Graph(definition, "graph", path.name, trained, _heads(definition), _tails(definition, results))
    return graph, read


def _heads(definition: tf.compat.v1.GraphDef) -> dict[str, str]:
    """Returns the graph's placeholders by name."""
    return {node.name: f"{node.name}:0" for node in definition.node if node.op in _HEADS}


def _tails(definition: tf.compat.v1.GraphDef, results: Mapping[str, str]) -> dict[str, str]:
    """Returns the results by name that depend on placeholders and that no operation reads; those of calls by theirs."""
    nodes, after = list(definition.node), set(_heads(definition))
    read = {name for node in nodes for name in graph_def.data_ops(node)}
    reached = len(after) + 1
    while len(after) != reached:
        reached = len(after)
        after |= {node.name for node in nodes if not after.isdisjoint(graph_def.data_ops(node))}
    called = {tensor: name.partition(":")[0] for name, tensor in results.items()}
    tails = [f"{node.name}:0" for node in nodes if node.name in after and node.name not in read]
    return {called.get(tensor, tensor.partition(":")[0]): tensor for tensor in tails}


def _weights(definition: tf.compat.v1.GraphDef) -> Iterator[tuple[Node, bool]]:
    """Yields (constant, whether it is trained) for each constant that is a weight of a layer."""
    nodes = graph_def.nodes_by_name(definition)
    for node in definition.node:
        places = [(number, True) for number in _KERNELS.get(node.op, ())]
        places += [(number, False) for number in _MOMENTS.get(node.op, ())]
        if node.op in _SUMS and any(
            graph_def.source(nodes, each, ("Identity",)).op in _SUMMED for each in node.input[:2]
        ):
            places = [(0, True), (1, True)]
        for number, trained in places:
            source = graph_def.source(nodes, node.input[number], _SAME)
            if graph_def.is_constant(source) and source.attr["dtype"].type == tf.float32.as_datatype_enum:
                yield source, trained


def _variable(constant: Node, shape: tuple[int, ...]) -> Node:
    node = Node(name=constant.name, op="VariableV2")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return node


def _offer(graph: Graph, cut_at: tuple[Any, Any], inputs: int, outputs: int) -> None:
    """Raises StageError, with tensors to choose from, for ends that the spec does not name and that are not clear."""
    counts = {"inputs": (cut_at[0], graph.inputs, inputs), "outputs": (cut_at[1], graph.outputs, outputs)}
    unclear = {
        kind: there for kind, (at, there, count) in counts.items() if at is None and not len(there) == count == 1
    }
    if not unclear:
        return
    facts = [("graph", graph.title)]
    facts += [
        (f"{kind}, perhaps", "\n".join(list(there)[-10:]) or "(no candidates)") for kind, there in unclear.items()
    ]
    keys = ", ".join(f'"{kind[:-1]}": "{next(reversed(list(there)), "NAME")}"' for kind, there in unclear.items())
    raise StageError("A frozen graph does not say where it begins and ends.", facts, f"Name them in the model: {keys}")
