"""Networks from meta graphs of TensorFlow 1.

A .meta file holds the whole graph of a program, with input pipeline, loss and optimizer. Only the operations between
`input` and `logits` are copied. Variables keep their names, so that the checkpoint restores by name. Left out are

    FakeQuants     and their quant_delay: ranges are learnt or calibrated again
    dropout        in training too: the fine-tuning runs without it
    control edges  such as the wait for the updates of moving averages

A training graph, whose batch norms use the batch's statistics, is refused: it lacks the operations of inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.framework.variable_pb2 import VariableDef

from qatbuild.exchange.errors import Facts, StageError
from qatbuild.worker import graph_def

v1 = tf.compat.v1

_FAKE_QUANT = "FakeQuant"
_VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})
_SCALES = frozenset({"Mul", "RealDiv"})
_LISTED = 10


def build(images: tf.Tensor, path: Path, *, source: str, logits: str) -> tf.Tensor:
    """Add the network of a meta graph to the graph of `images`, and return its tensor `logits`.

    `images` replaces the tensor `source`. StageError if the file is not a meta graph, lacks one of the tensors, or is a
    training graph, and if the network has other inputs than the images.
    """
    meta = _read(path)
    cut = _Cut({node.name: node for node in meta.graph_def.node}, path.name)
    start, end = cut.tensor(source, "model.input"), cut.tensor(logits, "model.logits")
    nodes = cut.between(start, end)
    network = _Network(nodes, start, end, _trained(meta))
    shape = cut.shape(start)
    if shape is not None and shape[0] is not None:
        with tf.Graph().as_default() as graph:
            network.added_to(v1.placeholder(images.dtype, shape))
        _free_batch(network.nodes, graph, shape[0])
    return network.added_to(images)


def _read(path: Path) -> tf.compat.v1.MetaGraphDef:
    meta = tf.compat.v1.MetaGraphDef()
    facts = [("model.meta_graph", path)]
    if not path.is_file():
        raise StageError("The meta graph does not exist.", facts, "The path is relative to the spec.")
    try:
        meta.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as fault:
        raise StageError("A meta graph cannot be read.", [*facts, ("reason", fault)]) from fault
    if not meta.graph_def.node:
        raise StageError("A meta graph is empty.", facts)
    return meta


def _trained(meta: tf.compat.v1.MetaGraphDef) -> set[str] | None:
    """Return the names of the trainable variables; None if the file has no list of them."""
    if "trainable_variables" not in meta.collection_def:
        return None
    values = meta.collection_def["trainable_variables"].bytes_list.value
    return {VariableDef.FromString(each).variable_name.partition(":")[0] for each in values} or None


Edge = tuple[str, int]
"""(name of a node, number of its output)."""


@dataclass(frozen=True)
class _Network:
    """A network as a list of nodes. `trained` are the names of its trainable variables; None: all are."""

    nodes: list[tf.compat.v1.NodeDef]
    start: Edge
    end: Edge
    trained: set[str] | None

    def added_to(self, images: tf.Tensor) -> tf.Tensor:
        """Add the nodes to the graph of `images`, which replaces the start, and return the end's tensor."""
        feeds = {_name(self.start): images}
        for node in self.nodes:
            if node.op in _VARIABLES:
                trainable = self.trained is None or node.name in self.trained
                feeds[f"{node.name}:0"] = _variable(node, trainable=trainable)
        definition = tf.compat.v1.GraphDef()
        definition.node.extend(node for node in self.nodes if node.op not in _VARIABLES)
        names = _renamed(definition, images.graph)
        end = _name((names.get(self.end[0], self.end[0]), self.end[1]))
        (logits,) = tf.import_graph_def(definition, input_map=feeds, return_elements=[end], name="")
        return logits


def _free_batch(nodes: list[tf.compat.v1.NodeDef], graph: tf.Graph, batch: int) -> None:
    """Give the Reshapes that hold a constant batch size a shape for any batch."""
    for node in [each for each in nodes if each.op == "Reshape"]:
        shape = graph.get_operation_by_name(node.name).outputs[0].shape
        if not shape.is_fully_defined() or shape.rank == 0 or shape[0] != batch:
            continue
        free = graph_def.new_constant(f"{node.name}/any_batch", [-1, *shape.as_list()[1:]], tf.int32)
        node.attr["Tshape"].type = tf.int32.as_datatype_enum
        node.input[1] = _name((free.name, 0))
        nodes.append(free)


@dataclass
class _Cut:
    """The graph of the file, from which the network is cut out."""

    nodes: dict[str, tf.compat.v1.NodeDef]
    title: str
    _seen_through: dict[Edge, Edge] = field(default_factory=dict)
    _random: dict[str, bool] = field(default_factory=dict)
    _constants: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        random = {node.op for node in self.nodes.values() if "Random" in node.op}
        self._constants = graph_def.constant_ops(self.nodes.values(), random)

    def tensor(self, name: str, where: str) -> Edge:
        """Return the edge of a tensor's name; a node's name means its first output. StageError if it does not exist."""
        edge = _edge(name)
        if edge[0] in self.nodes:
            return edge
        scope, _, last = edge[0].rpartition("/")
        near = (
            [node for node in self.nodes if node.rpartition("/")[2] == last]
            or [node for node in self.nodes if scope and node.rpartition("/")[0] == scope]
            or [node.name for node in self.nodes.values() if node.op == "Placeholder"]
        )
        facts = [("meta graph", self.title), (where, name)]
        facts.append(("there are", "\n".join(near[:_LISTED]) or "(no similar names)"))
        raise StageError("The meta graph has no such tensor.", facts)

    def shape(self, edge: Edge) -> list[int | None] | None:
        """Return the static shape of a tensor, None if the file does not give it."""
        attributes = self.nodes[edge[0]].attr
        shapes = list(attributes["_output_shapes"].list.shape) if "_output_shapes" in attributes else []
        if not shapes and "shape" in attributes:
            shapes = [attributes["shape"].shape]
        return tf.TensorShape(shapes[edge[1]]).as_list() if shapes and not shapes[edge[1]].unknown_rank else None

    def between(self, start: Edge, end: Edge) -> list[tf.compat.v1.NodeDef]:
        """Return copies of the nodes between `start` and `end`, in the file's order; StageError for other inputs."""
        needed: dict[str, tf.compat.v1.NodeDef] = {}
        reached = False
        waiting = [end[0]]
        while waiting:
            name = waiting.pop()
            if name in needed or name == start[0]:
                reached = reached or name == start[0]
                continue
            node = tf.compat.v1.NodeDef()
            node.CopyFrom(self.nodes[name])
            edges = [self._through(_edge(each)) for each in node.input if not each.startswith("^")]
            del node.input[:]
            node.input.extend(_name(edge) for edge in edges)
            for hint in ("_class", "_output_shapes"):  # about the whole graph
                node.attr.pop(hint, None)
            node.device = ""
            needed[name] = node
            waiting += [edge[0] for edge in edges]
        facts = [("meta graph", self.title), ("input", _name(start)), ("logits", _name(end))]
        if not reached:
            raise StageError("The logits do not depend on the input.", facts)
        self._refuse(needed.values(), facts)
        return [needed[name] for name in self.nodes if name in needed]

    def _refuse(self, needed: Iterable[tf.compat.v1.NodeDef], facts: Facts) -> None:
        fed = [node for node in needed if not node.input and node.op not in {*_VARIABLES, "Const"}]
        if fed:
            rows = [(node.op, node.name) for node in fed[:_LISTED]]
            hint = "Set model.input to the tensor of real images behind the input pipeline, in an inference graph."
            raise StageError("The network has other inputs than the images.", [*facts, *rows], hint)
        training = [node for node in needed if _normalizes_with_batch(node)]
        if training:
            rows = [(node.op, node.name) for node in training[:_LISTED]]
            hint = "Build the network with is_training=False, and export its graph with Saver.export_meta_graph."
            message = "The meta graph is a training graph: its batch norms use the batch's statistics."
            raise StageError(message, [*facts, *rows], hint)

    def _through(self, edge: Edge) -> Edge:
        """Return the edge in front of FakeQuants, their quant_delay and dropout."""
        if edge not in self._seen_through:
            self._seen_through[edge] = edge  # Stops at a loop.
            before = self._before(edge)
            self._seen_through[edge] = edge if before is None else self._through(before)
        return self._seen_through[edge]

    def _before(self, edge: Edge) -> Edge | None:
        node = self.nodes[edge[0]]
        inputs = [_edge(each) for each in node.input if not each.startswith("^")]
        if node.op.startswith(_FAKE_QUANT):
            return inputs[0]
        if node.op == "Merge" and edge[1] == 0:
            ends = {self._through(_edge(self.nodes[name].input[0])) for name, _ in inputs if self._op(name) == "Switch"}
            return ends.pop() if len(ends) == 1 else None
        if node.op in _SCALES and len(inputs) == 2:  # noqa: PLR2004
            values = [each for each in inputs if not self._is_random(each[0])]
            if len(values) == 1 and not self._is_constant(values[0][0]):
                return self._unscaled(values[0])
        return None

    def _unscaled(self, edge: Edge) -> Edge:
        """Return the input of dropout's division by the share of kept values; other edges unchanged."""
        node = self.nodes[edge[0]]
        inputs = [_edge(each) for each in node.input if not each.startswith("^")]
        if node.op in _SCALES and len(inputs) == 2 and "dropout" in node.name:  # noqa: PLR2004
            values = [each for each in inputs if not self._is_constant(each[0])]
            return values[0] if len(values) == 1 else edge
        return edge

    def _is_constant(self, name: str) -> bool:
        return name in self._constants

    def _is_random(self, name: str) -> bool:
        """Return whether a value depends on random numbers, and on the images at most by their shape."""
        if name not in self._random:
            self._random[name] = False
            node = self.nodes[name]
            inputs = [_edge(each)[0] for each in node.input if not each.startswith("^")]
            drawn = "RandomUniform" in node.op
            others = [each for each in inputs if not self._is_constant(each)]
            self._random[name] = drawn or (bool(others) and all(map(self._is_random, others)))
        return self._random[name]

    def _op(self, name: str) -> str:
        return str(self.nodes[name].op)


def _edge(name: str) -> Edge:
    node, colon, number = name.partition(":")
    return node, int(number) if colon and number.isdigit() else 0


def _name(edge: Edge) -> str:
    return f"{edge[0]}:{edge[1]}"


def _normalizes_with_batch(node: tf.compat.v1.NodeDef) -> bool:
    if node.op.startswith("FusedBatchNorm"):
        return bool(node.attr["is_training"].b)
    # The variance of an unfused batch norm that normalizes with its batch.
    return bool(node.op == "SquaredDifference")


def _variable(node: tf.compat.v1.NodeDef, *, trainable: bool) -> tf.Tensor:
    """Make a variable with the node's name and shape; return its handle for a VarHandleOp, else its value."""
    shape = [size.size for size in node.attr["shape"].shape.dim]
    dtype = tf.as_dtype(node.attr["dtype"].type)
    with v1.name_scope(None):
        variable = v1.Variable(
            lambda: tf.zeros(shape, dtype), trainable=trainable, use_resource=True, name=node.name, dtype=dtype
        )
    return variable.handle if node.op == "VarHandleOp" else variable.value()


def _renamed(definition: tf.compat.v1.GraphDef, graph: tf.Graph) -> dict[str, str]:
    """Rename the nodes whose names the graph already has; return their new names by old name."""
    taken = {operation.name for operation in graph.get_operations()} & {node.name for node in definition.node}
    names = {name: f"{name}_of_meta_graph" for name in taken}
    for node in definition.node:
        node.name = names.get(node.name, node.name)
        inputs = list(_inputs(node, names))
        del node.input[:]
        node.input.extend(inputs)
    return names


def _inputs(node: tf.compat.v1.NodeDef, names: dict[str, str]) -> Iterator[str]:
    for name, number in map(_edge, node.input):
        yield _name((names.get(name, name), number))
