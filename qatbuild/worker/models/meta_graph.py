"""The network in a meta graph of TensorFlow 1: what leads from the images to the logits, as it is in inference.

A .meta file holds all that a program built: input pipeline, loss, optimizer. Of that only the way from `input` to
`logits` is taken, with the variables on it under their own names, so that the checkpoint restores by name. Left out are

    FakeQuants   with their gates: the float network is what is wanted, and ranges are learnt or calibrated anew
    dropout      in both graphs: a fine-tuning does without
    control edges, which make inference wait for the updates of moving averages

A network that normalizes with its batches is the graph of a training and is refused: what inference would read instead
is not in it.
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
    """The network of the file in the graph of `images`; the tensor named `logits`.

    `source` names the tensor that the images take the place of. StageError if the file is no meta graph, has no such
    tensors, or if the network needs something else than images.
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
        raise StageError("There is no such meta graph.", facts, "The path is relative to the spec.")
    try:
        meta.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as fault:
        raise StageError("A meta graph cannot be read.", [*facts, ("reason", fault)]) from fault
    if not meta.graph_def.node:
        raise StageError("A meta graph is empty.", facts)
    return meta


def _trained(meta: tf.compat.v1.MetaGraphDef) -> set[str] | None:
    """The names of the variables that an optimizer may change, None if the file does not say."""
    if "trainable_variables" not in meta.collection_def:
        return None
    values = meta.collection_def["trainable_variables"].bytes_list.value
    return {VariableDef.FromString(each).variable_name.partition(":")[0] for each in values} or None


Edge = tuple[str, int]
"""A node's name and the number of its output."""


@dataclass(frozen=True)
class _Network:
    """The nodes from start to end, and the names of the variables that are trained (None: all)."""

    nodes: list[tf.compat.v1.NodeDef]
    start: Edge
    end: Edge
    trained: set[str] | None

    def added_to(self, images: tf.Tensor) -> tf.Tensor:
        """The end's tensor in the graph of `images`, which stand for the start."""
        feeds = {_name(self.start): images}
        for node in self.nodes:
            if node.op in _VARIABLES:
                trainable = self.trained is None or node.name in self.trained
                feeds[f"{node.name}:0"] = _variable(node, trainable=trainable)
        definition = tf.compat.v1.GraphDef()
        definition.node.extend(node for node in self.nodes if node.op not in _VARIABLES)
        names = _renamed(definition, images.graph)
        end = _name((names.get(self.end[0], self.end[0]), self.end[1]))
        (found,) = tf.import_graph_def(definition, input_map=feeds, return_elements=[end], name="")
        return found


def _free_batch(nodes: list[tf.compat.v1.NodeDef], graph: tf.Graph, batch: int) -> None:
    """Let reshapes that were built for a batch of one size take any: their shape is a constant in the file."""
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
    """The nodes of a graph by name, and the way through them."""

    nodes: dict[str, tf.compat.v1.NodeDef]
    title: str
    _seen_through: dict[Edge, Edge] = field(default_factory=dict)
    _random: dict[str, bool] = field(default_factory=dict)

    def tensor(self, name: str, where: str) -> Edge:
        """The edge of a tensor's name; the name of a node is its first output. StageError if there is none."""
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
        facts.append(("there are", "\n".join(near[:_LISTED]) or "none like it"))
        raise StageError("The meta graph has no such tensor.", facts)

    def shape(self, edge: Edge) -> list[int | None] | None:
        """The static shape of a tensor, as far as the file says it."""
        attributes = self.nodes[edge[0]].attr
        shapes = list(attributes["_output_shapes"].list.shape) if "_output_shapes" in attributes else []
        if not shapes and "shape" in attributes:
            shapes = [attributes["shape"].shape]
        return tf.TensorShape(shapes[edge[1]]).as_list() if shapes and not shapes[edge[1]].unknown_rank else None

    def between(self, start: Edge, end: Edge) -> list[tf.compat.v1.NodeDef]:
        """Copies of the nodes that `end` needs, up to `start`, in the file's order; StageError if more is needed."""
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
            hint = "Name the tensor of real images behind the input pipeline, in the graph of an inference."
            raise StageError("The network needs something else than the images.", [*facts, *rows], hint)
        training = [node for node in needed if _normalizes_with_batch(node)]
        if training:
            rows = [(node.op, node.name) for node in training[:_LISTED]]
            hint = "Save the graph once with is_training=False (Saver.export_meta_graph) and name that file."
            message = "The network normalizes with its batches: this is the graph of a training."
            raise StageError(message, [*facts, *rows], hint)

    def _through(self, edge: Edge) -> Edge:
        """What stands behind FakeQuants, their gates and dropout, looking towards the input."""
        if edge not in self._seen_through:
            self._seen_through[edge] = edge  # a loop ends here
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
        """Dropout's values before they were divided by the share that is kept."""
        node = self.nodes[edge[0]]
        inputs = [_edge(each) for each in node.input if not each.startswith("^")]
        if node.op in _SCALES and len(inputs) == 2 and "dropout" in node.name:  # noqa: PLR2004
            values = [each for each in inputs if not self._is_constant(each[0])]
            return values[0] if len(values) == 1 else edge
        return edge

    def _is_constant(self, name: str) -> bool:
        node = self.nodes[name]
        inputs = [_edge(each)[0] for each in node.input if not each.startswith("^")]
        if "Random" in node.op:
            return False
        return node.op == "Const" or (bool(inputs) and all(map(self._is_constant, inputs)))

    def _is_random(self, name: str) -> bool:
        """Whether random numbers are in a value, and nothing of the images but their shape."""
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
    # Of an unfused one: the variance of the batch, into which the network's own values go.
    return bool(node.op == "SquaredDifference")


def _variable(node: tf.compat.v1.NodeDef, *, trainable: bool) -> tf.Tensor:
    """A variable of the node's name and shape, and what its readers read: a value, or the handle of it."""
    shape = [size.size for size in node.attr["shape"].shape.dim]
    dtype = tf.as_dtype(node.attr["dtype"].type)
    with v1.name_scope(None):
        variable = v1.Variable(
            lambda: tf.zeros(shape, dtype), trainable=trainable, use_resource=True, name=node.name, dtype=dtype
        )
    return variable.handle if node.op == "VarHandleOp" else variable.value()


def _renamed(definition: tf.compat.v1.GraphDef, graph: tf.Graph) -> dict[str, str]:
    """New names for the nodes whose names the graph has already: its own, and the reads of variables."""
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
