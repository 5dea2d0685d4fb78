"""Calls of functions in a GraphDef, replaced by the functions' operations.

TensorFlow 2 saves a network as functions that call each other, StatefulPartitionedCall. Here their operations come into
the one graph, under the names that they have in the functions: a call adds a scope only if it, or the layer of Keras 2
whose function it calls, has a name. What is not a call, such as a loop, stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import tensorflow as tf
from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph_def

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_UNNAMED = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")
_KERAS_2_LAYER = re.compile(r"__inference_(.+)_layer_call_(and_return_conditional_losses|fn)_\d+")

Node: TypeAlias = tf.compat.v1.NodeDef


def inlined(definition: tf.compat.v1.GraphDef) -> tuple[tf.compat.v1.GraphDef, dict[str, str]]:
    """Returns the graph without calls and control edges, and the tensors that are now the results of calls.

    The second is a mapping from names such as "StatefulPartitionedCall:0" to tensors of the new graph.
    """
    work = _Inlining({each.signature.name: each for each in definition.library.function})
    with tf.Graph().as_default():  # in which functions may be looked up
        tf.import_graph_def(tf.compat.v1.GraphDef(library=definition.library), name="")
        work.add(definition.node, "", {})
    result = tf.compat.v1.GraphDef()
    result.node.extend(work.resolved())
    result.versions.CopyFrom(definition.versions)
    return result, {tensor: work.source(tensor) for tensor in work.stands_for}


class _Inlining:
    """The nodes of the graph so far, and the tensors that stand where results and arguments of functions stood."""

    def __init__(self, functions: Mapping[str, FunctionDef]) -> None:
        self.functions = functions
        self.nodes: list[Node] = []
        self.taken: set[str] = set()
        self.stands_for: dict[str, str] = {}

    def add(self, nodes: Iterable[Node], scope: str, arguments: Mapping[str, str]) -> dict[str, str]:
        """Adds the nodes of a function, or the graph's; returns their new names. `arguments` are tensors by name."""
        nodes = list(nodes)
        names = {node.name: self._free(f"{scope}{node.name}") for node in nodes}
        for node in nodes:
            if node.name in arguments:
                self.stands_for[f"{names[node.name]}:0"] = arguments[node.name]
                continue
            inputs = [_renamed(each, names) for each in node.input if not each.startswith("^")]
            function = self._called(node)
            if function is not None:
                self._call(function, names[node.name], _scope(node, function.signature.name, scope), inputs)
                continue
            copy = Node()
            copy.CopyFrom(node)
            copy.name = names[node.name]
            del copy.input[:]
            copy.input.extend(inputs)
            self.nodes.append(copy)
        return names

    def resolved(self) -> Iterator[Node]:
        """Yields the nodes, whose inputs are tensors of other nodes."""
        for node in self.nodes:
            inputs = [self.source(each) for each in node.input]
            del node.input[:]
            node.input.extend(inputs)
            yield node

    def source(self, tensor: str) -> str:
        """Returns the tensor that stands where `tensor` stood; others unchanged."""
        while tensor in self.stands_for:
            tensor = self.stands_for[tensor]
        return tensor

    def _call(self, function: FunctionDef, name: str, scope: str, inputs: list[str]) -> None:
        graph, tensors = function_def_to_graph_def(function)
        arguments = {each.name: tensor for each, tensor in zip(function.signature.input_arg, inputs, strict=False)}
        names = self.add(graph.node, scope, arguments)
        for number, each in enumerate(function.signature.output_arg):
            self.stands_for[f"{name}:{number}"] = _renamed(tensors[function.ret[each.name]], names)

    def _called(self, node: Node) -> FunctionDef | None:
        return self.functions.get(node.attr["f"].func.name if node.op in _CALLS else node.op)

    def _free(self, name: str) -> str:
        wanted, number = name, 0
        while name in self.taken:
            number += 1
            name = f"{wanted}_{number}"
        self.taken.add(name)
        return name


def _scope(node: Node, function: str, outer: str) -> str:
    if not _UNNAMED.fullmatch(node.name.rpartition("/")[2]):
        return f"{outer}{node.name}/"
    layer = _KERAS_2_LAYER.fullmatch(function)
    scope = node.name.rpartition("/")[0]
    return outer + (f"{scope}/" if scope else "") + (f"{layer[1]}/" if layer else "")


def _renamed(tensor: str, names: Mapping[str, str]) -> str:
    operation, _, number = tensor.partition(":")
    return f"{names.get(operation, operation)}:{number or 0}"
