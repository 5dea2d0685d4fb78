"""The part of a graph between the tensors that inputs replace and those that hold the outputs.

A file may hold the whole graph of a program, with input pipeline, loss and optimizer. Only the operations in between
are copied. Left out are

    FakeQuants     and their quant_delay: ranges are learnt or calibrated again
    dropout        in training too: the fine-tuning runs without it
    control edges  such as the wait for the updates of moving averages
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import tensorflow as tf

from qatbuild.exchange.errors import Facts, StageError
from qatbuild.worker import graph_def
from qatbuild.worker.models import graph_refusals, matching

VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})
_FAKE_QUANT = "FakeQuant"
_SCALES = frozenset({"Mul", "RealDiv"})

Node: TypeAlias = tf.compat.v1.NodeDef
Edge = tuple[str, int]
"""(name of a node, number of its output)."""


def edge(name: str) -> Edge:
    """Returns the edge of a tensor's name; a node's name means its first output."""
    node, colon, number = name.partition(":")
    return node, int(number) if colon and number.isdigit() else 0


def text(edge: Edge) -> str:
    """Returns a tensor's name."""
    return f"{edge[0]}:{edge[1]}"


@dataclass
class Cut:
    """The graph of a file, of the kind `kind` ("meta graph"), from which a network is cut out."""

    nodes: dict[str, Node]
    title: str
    kind: str
    _seen_through: dict[Edge, Edge] = field(default_factory=dict)
    _random: dict[str, bool] = field(default_factory=dict)
    _constants: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        random = {node.op for node in self.nodes.values() if "Random" in node.op}
        self._constants = graph_def.constant_ops(self.nodes.values(), random)

    def tensor(self, name: str, where: str) -> Edge:
        """Returns the edge of a tensor's name, which the spec has at `where`; StageError if it does not exist."""
        named = edge(name)
        if named[0] in self.nodes:
            return named
        near = matching.nearest(named[0], self.nodes) or [
            node.name for node in self.nodes.values() if node.op == "Placeholder"
        ]
        facts = [(self.kind, self.title), (where, name)]
        facts.append(("there are", "\n".join(near) or "(no similar names)"))
        raise StageError(f"The {self.kind} has no such tensor.", facts)

    def shape(self, edge: Edge) -> list[int | None] | None:
        """Returns the static shape of a tensor, None if the file does not give it."""
        attributes = self.nodes[edge[0]].attr
        shapes = list(attributes["_output_shapes"].list.shape) if "_output_shapes" in attributes else []
        if not shapes and "shape" in attributes:
            shapes = [attributes["shape"].shape]
        ranked = edge[1] < len(shapes) and not shapes[edge[1]].unknown_rank
        return tf.TensorShape(shapes[edge[1]]).as_list() if ranked else None

    def between(self, starts: Sequence[Edge], ends: Sequence[Edge]) -> list[Node]:
        """Returns copies of the nodes between `starts` and `ends`, in the file's order; StageError for other inputs."""
        needed: dict[str, Node] = {}
        sources, reached = {start[0] for start in starts}, set()
        waiting = [end[0] for end in ends]
        while waiting:
            name = waiting.pop()
            if name in sources:
                reached.add(name)
            if name in needed or name in sources:
                continue
            needed[name] = node = self._copy(name)
            waiting += [edge(each)[0] for each in node.input]
        facts = [(self.kind, self.title)]
        facts += [("input", text(start)) for start in starts]
        facts += [("logits" if len(ends) == 1 else "output", text(end)) for end in ends]
        if not reached:
            raise StageError("The logits do not depend on the input.", facts)
        unread = [start for start in starts if start[0] not in reached]
        if unread:
            rows = [("not read", text(start)) for start in unread]
            raise StageError("The outputs do not depend on all inputs.", [*facts, *rows])
        self._refuse(needed.values(), facts)
        return [needed[name] for name in self.nodes if name in needed]

    def _copy(self, name: str) -> Node:
        node = Node()
        node.CopyFrom(self.nodes[name])
        edges = [self._through(edge(each)) for each in node.input if not each.startswith("^")]
        del node.input[:]
        node.input.extend(text(each) for each in edges)
        for hint in ("_class", "_output_shapes"):  # about the whole graph
            node.attr.pop(hint, None)
        node.device = ""
        return node

    def _refuse(self, needed: Iterable[Node], facts: Facts) -> None:
        nodes = list(needed)
        graph_refusals.check_preparation(nodes, facts)
        graph_refusals.check_control_flow(nodes, facts)
        fed = [node for node in nodes if not node.input and node.op not in {*VARIABLES, "Const"}]
        if fed:
            raise graph_refusals.fed(fed, facts)
        training = [node for node in nodes if _normalizes_with_batch(node, self.kind)]
        if training:
            raise graph_refusals.in_training(training, self.kind, facts)

    def _through(self, edge: Edge) -> Edge:
        """Returns the edge in front of FakeQuants, their quant_delay and dropout."""
        if edge not in self._seen_through:
            self._seen_through[edge] = edge  # Stops at a loop.
            before = self._before(edge)
            self._seen_through[edge] = edge if before is None else self._through(before)
        return self._seen_through[edge]

    def _before(self, at: Edge) -> Edge | None:
        node = self.nodes[at[0]]
        inputs = [edge(each) for each in node.input if not each.startswith("^")]
        if node.op.startswith(_FAKE_QUANT):
            return inputs[0]
        if node.op == "Merge" and at[1] == 0:
            ends = {self._through(edge(self.nodes[name].input[0])) for name, _ in inputs if self._op(name) == "Switch"}
            return ends.pop() if len(ends) == 1 else None
        if node.op in _SCALES and len(inputs) == 2:  # noqa: PLR2004
            values = [each for each in inputs if not self._is_random(each[0])]
            if len(values) == 1 and not self._is_constant(values[0][0]):
                return self._unscaled(values[0])
        return None

    def _unscaled(self, at: Edge) -> Edge:
        """Returns the input of dropout's division by the share of kept values; other edges unchanged."""
        node = self.nodes[at[0]]
        inputs = [edge(each) for each in node.input if not each.startswith("^")]
        if node.op in _SCALES and len(inputs) == 2 and "dropout" in node.name:  # noqa: PLR2004
            values = [each for each in inputs if not self._is_constant(each[0])]
            return values[0] if len(values) == 1 else at
        return at

    def _is_constant(self, name: str) -> bool:
        return name in self._constants

    def _is_random(self, name: str) -> bool:
        """Returns whether a value depends on random numbers, and on the images at most by their shape."""
        if name not in self._random:
            self._random[name] = False
            node = self.nodes[name]
            inputs = [edge(each)[0] for each in node.input if not each.startswith("^")]
            drawn = "RandomUniform" in node.op
            others = [each for each in inputs if not self._is_constant(each)]
            self._random[name] = drawn or (bool(others) and all(map(self._is_random, others)))
        return self._random[name]

    def _op(self, name: str) -> str:
        return str(self.nodes[name].op)


def ends(tensors: Mapping[str, str] | str, wanted: Sequence[str], kind: str, title: str) -> dict[str, str]:
    """Returns the tensor of each wanted name; `tensors` is a mapping, or the lone tensor's name."""
    there = {"": tensors} if isinstance(tensors, str) else tensors
    return matching.matched(wanted, there, kind, title)


def _normalizes_with_batch(node: Node, kind: str) -> bool:
    if node.op.startswith("FusedBatchNorm"):
        return bool(node.attr["is_training"].b)
    # The variance of an unfused batch norm that normalizes with its batch.
    return kind == "meta graph" and bool(node.op == "SquaredDifference")
