"""Networks cut out of graphs of TensorFlow: meta graphs, SavedModels and frozen graphs.

Variables keep their names, so that a checkpoint restores by name. A batch norm stays as it is in inference: also in
training it normalizes with its moving averages, which no longer move, while its scale and offset learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.networks import Tensors
from qatbuild.worker import graph_def
from qatbuild.worker.models import graph_refusals, matching
from qatbuild.worker.models.graph_cut import VARIABLES, Cut, Edge, Node, edge, text

v1 = tf.compat.v1

_NO_CLASSES = frozenset({"Sigmoid", "Tanh", "Relu", "Relu6", "Elu", "Softplus"})
_OTHERS = {"softmax": _NO_CLASSES, "sigmoid": _NO_CLASSES - {"Sigmoid"} | {"Softmax"}, "": frozenset[str]()}
_LISTED = 10


@dataclass(frozen=True)
class Graph:
    """A graph of a file.

    kind        "meta graph", "SavedModel" or "graph"
    title       the file's name
    trained     names of the trainable variables; None: all are
    inputs      tensors that the file itself names as inputs, by name
    outputs     tensors that the file itself names as outputs, by name
    """

    definition: tf.compat.v1.GraphDef
    kind: str
    title: str
    trained: frozenset[str] | None
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def build(
    inputs: Mapping[str, tf.Tensor], graph: Graph, cut_at: tuple[Tensors, Tensors], ends: Mapping[str, str]
) -> dict[str, tf.Tensor]:
    """Adds the network of a graph to the graph of the inputs, float32 [batch, ...]; returns its outputs by name.

    `cut_at` are the tensors that the inputs replace and that hold the outputs, where the spec says. `ends` has the
    wanted outputs, each with the activation that is left out at its end: "softmax", "sigmoid" or "". StageError if the
    graph lacks a tensor, is a training graph, prepares its inputs, or has other inputs.
    """
    cut = Cut({node.name: node for node in graph.definition.node}, graph.title, graph.kind)
    starts = _edges(cut, list(inputs), cut_at[0], graph.inputs, "inputs")
    matching.require_all(list(inputs), graph.inputs if cut_at[0] is None else inputs, graph.title)
    for name, start in starts.items():
        _check_start(cut, name, start, inputs[name])
    last = {
        name: _without(cut, ends[name], each)
        for name, each in _edges(cut, list(ends), cut_at[1], graph.outputs, "outputs").items()
    }
    network = _Network(cut.between(list(starts.values()), list(last.values())), starts, last, graph)
    shapes = {name: cut.shape(start) for name, start in starts.items()}
    batches = {shape[0] for shape in shapes.values() if shape}
    if all(shapes.values()) and len(batches) == 1 and (batch := batches.pop()) is not None:
        with tf.Graph().as_default() as scratch:
            network.added_to({name: v1.placeholder(inputs[name].dtype, shape) for name, shape in shapes.items()})
        _free_batch(network.nodes, scratch, batch)
    return network.added_to(inputs)


def _edges(cut: Cut, wanted: list[str], at: Tensors, there: Mapping[str, str], kind: str) -> dict[str, Edge]:
    """Returns the edge of each wanted end, by the names in the spec, of ends or tensors, else by the file."""
    place = f"model.{kind}"
    if at is None:
        if not there:
            raise StageError(f"The {cut.kind} does not say what its {kind} are.", [(cut.kind, cut.title)])
        tensors = matching.matched(wanted, there, kind, cut.title)
    elif isinstance(at, str):
        place = {"inputs": "model.input", "outputs": "model.logits" if cut.kind == "meta graph" else "model.output"}[
            kind
        ]
        tensors = matching.matched(wanted, {"": at}, kind, cut.title)
    else:
        tensors = matching.matched(wanted, at, kind, cut.title)
    return {name: cut.tensor(there.get(tensor, tensor), place) for name, tensor in tensors.items()}


def _check_start(cut: Cut, name: str, start: Edge, tensor: tf.Tensor) -> None:
    node = cut.nodes[start[0]]
    if node.op == "Placeholder":
        dtype = tf.as_dtype(node.attr["dtype"].type)
        graph_refusals.check_type(name, dtype, _behind(cut, start[0]), [(cut.kind, cut.title)])
    shape = cut.shape(start)
    if shape is not None and not tensor.shape[1:].is_compatible_with(shape[1:]):
        wanted, got = (["?" if size is None else str(size) for size in each] for each in (shape[1:], tensor.shape[1:]))
        facts = [("network", cut.title), (name, "x".join(got)), ("wanted", "x".join(wanted))]
        raise StageError(f"The network cannot take {name} of this shape.", facts)


def _behind(cut: Cut, start: str) -> dict[str, str]:
    """Returns the first tensors of real values behind an input of another kind, with the type of their operation."""
    after, waiting, tensors = {start}, True, dict[str, str]()
    while waiting:
        more = [node for node in cut.nodes.values() if node.name not in after and _reads(node, after)]
        waiting = bool(more)
        for node in more:
            to_real = "DstT" in node.attr and node.attr["DstT"].type == tf.float32.as_datatype_enum
            if to_real or node.op.startswith("Resize"):
                tensors[f"{node.name}:0"] = node.op
                waiting = False
        after |= {node.name for node in more}
    return dict(list(tensors.items())[:_LISTED])


def _reads(node: Node, names: set[str]) -> bool:
    return any(graph_def.op_name(each) in names for each in node.input)


def _without(cut: Cut, end: str, at: Edge) -> Edge:
    """Returns what an activation at the end of an output reads; the output itself if it ends otherwise."""
    last = at
    while cut.nodes[last[0]].op == "Identity":
        last = edge(cut.nodes[last[0]].input[0])
    node = cut.nodes[last[0]]
    if end and node.op.lower() == end:
        return edge(node.input[0])
    if node.op in _OTHERS[end] and cut.kind != "meta graph":
        facts = [(cut.kind, cut.title), ("output", text(at)), ("ends in", node.op)]
        per = "score per class" if end == "softmax" else "probability per label"
        hint = f'Name the tensor in front of it as the output: "{edge(node.input[0])[0]}"'
        raise StageError(f"The network's output is not one {per}.", facts, hint)
    return at if cut.kind == "meta graph" else last


@dataclass(frozen=True)
class _Network:
    """A network as a list of nodes between tensors."""

    nodes: list[Node]
    starts: Mapping[str, Edge]
    ends: Mapping[str, Edge]
    graph: Graph

    def added_to(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Adds the nodes to the graph of the inputs, which replace the starts, and returns the tensors of the ends."""
        feeds = {text(start): inputs[name] for name, start in self.starts.items()}
        for node in self.nodes:
            if node.op in VARIABLES:
                trainable = self.graph.trained is None or node.name in self.graph.trained
                feeds[f"{node.name}:0"] = _variable(node, trainable=trainable)
        definition = tf.compat.v1.GraphDef()
        definition.node.extend(node for node in self.nodes if node.op not in VARIABLES)
        inside = next(iter(inputs.values())).graph
        names = _renamed(definition, inside, self.graph.kind)
        wanted = [text((names.get(end[0], end[0]), end[1])) for end in self.ends.values()]
        try:
            tensors = tf.import_graph_def(definition, input_map=feeds, return_elements=wanted, name="")
        except (ValueError, tf.errors.OpError) as fault:
            facts = [(self.graph.kind, self.graph.title), ("reason", str(fault).splitlines()[0])]
            raise StageError(f"TensorFlow cannot build the network of the {self.graph.kind}.", facts) from fault
        return dict(zip(self.ends, tensors, strict=True))


def _free_batch(nodes: list[Node], graph: tf.Graph, batch: int) -> None:
    """Gives the Reshapes that hold a constant batch size a shape for any batch."""
    for node in [each for each in nodes if each.op == "Reshape"]:
        shape = graph.get_operation_by_name(node.name).outputs[0].shape
        if not shape.is_fully_defined() or shape.rank == 0 or shape[0] != batch:
            continue
        free = graph_def.new_constant(f"{node.name}/any_batch", [-1, *shape.as_list()[1:]], tf.int32)
        node.attr["Tshape"].type = tf.int32.as_datatype_enum
        node.input[1] = text((free.name, 0))
        nodes.append(free)


def _variable(node: Node, *, trainable: bool) -> tf.Tensor:
    """Makes a variable with the node's name and shape; returns its handle for a VarHandleOp, else its value."""
    shape = [size.size for size in node.attr["shape"].shape.dim]
    dtype = tf.as_dtype(node.attr["dtype"].type)
    with v1.name_scope(None):
        variable = v1.Variable(
            lambda: tf.zeros(shape, dtype), trainable=trainable, use_resource=True, name=node.name, dtype=dtype
        )
    return variable.handle if node.op == "VarHandleOp" else variable.value()


def _renamed(definition: tf.compat.v1.GraphDef, graph: tf.Graph, kind: str) -> dict[str, str]:
    """Renames the nodes whose names the graph already has; returns their new names by old name."""
    taken = {operation.name for operation in graph.get_operations()} & {node.name for node in definition.node}
    names = {name: f"{name}_of_{kind.replace(' ', '_')}" for name in taken}
    for node in definition.node:
        node.name = names.get(node.name, node.name)
        inputs = list(_inputs(node, names))
        del node.input[:]
        node.input.extend(inputs)
    return names


def _inputs(node: Node, names: dict[str, str]) -> Iterator[str]:
    for name, number in map(edge, node.input):
        yield text((names.get(name, name), number))
