"""Errors raised before the first edit: graphs that cannot be edited, operations without an integer kernel."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.graph.authored import AuthoredLayer, layer_of, noted
from qatbuild.quantize.graph.integer_ops import CONSTRUCTS, DEFAULT_HINTS, GENERAL_HINT, NOT_INTEGER, kind, reason
from qatbuild.quantize.graph.names import layer_name
from qatbuild.quantize.graph.walk import SHAPE_OPS, producers, reachable, readers

_APPLIES_GRADIENTS = re.compile(r"(Resource)?(Sparse)?Apply[A-Z]")
_SHOWN = 10


@dataclass(frozen=True)
class UnsupportedOp:
    """An operation that the converter would compute in float: its layer's name in the network, its kind, the reason.

    `author` is the class that the layer has for its author, '' if it has none; `hint` a hint for this layer alone.
    """

    layer: str
    kind: str
    why: str
    operation: tf.Operation | None = field(default=None, compare=False)
    author: str = ""
    hint: str = ""

    @property
    def title(self) -> str:
        """The kind for people: "Elu", or "Activation, Elu" where the author's class is another."""
        return self.kind if self.author in {"", self.kind} else f"{self.author}, {self.kind}"


def refuse_unsupported(unsupported: Iterable[UnsupportedOp], hints: Mapping[str, str]) -> None:
    """Raises a RewriteError if there are unsupported operations: one fact per layer, and the hints for all kinds.

    Of several operations of one layer the first is named, but a construct (LRN, BatchNorm) before any other type.
    `hints` maps a kind to what the user can do; it takes precedence over DEFAULT_HINTS. A layer that its author named
    (see authored) has that name, and its class.
    """
    by_layer: dict[str, UnsupportedOp] = {}
    for each in map(_as_authored, unsupported):
        first = by_layer.setdefault(each.layer, each)
        if each.kind in CONSTRUCTS and first.kind not in CONSTRUCTS:
            by_layer[each.layer] = each
    if not by_layer:
        return
    texts: dict[str, str] = {}
    for each in by_layer.values():
        texts.setdefault(_hint(each, hints), each.kind)
    texts.pop("", None)
    several = len({each.kind for each in by_layer.values()}) > 1
    raise RewriteError(
        "The network cannot be made fully integer.",
        [(each.layer, f"{each.title}: {each.why}") for each in by_layer.values()],
        "; ".join(f"{text} (for {kind})" if several else text for text, kind in texts.items()),
    )


def _hint(each: UnsupportedOp, hints: Mapping[str, str]) -> str:
    text = each.hint or hints.get(each.kind) or DEFAULT_HINTS.get(each.why) or DEFAULT_HINTS.get(each.kind)
    return text or (GENERAL_HINT if each.why == NOT_INTEGER else "")


def refuse_authored(graph: tf.Graph, hints: Mapping[str, str], condition: str = "") -> None:
    """Raises a RewriteError if layers were noted that have no integer form, whatever their operations are.

    `condition` stands before the layers' own hints, which are for mode integer.
    """
    refused = [_refused(each) for each in noted(graph) if each.why]
    refuse_unsupported([replace(each, hint=each.hint and f"{condition}{each.hint}") for each in refused], hints)


def facts_of(inputs: Sequence[tf.Tensor], ends: Sequence[tf.Tensor]) -> list[tuple[str, object]]:
    """Returns the rows of an error that name a network's inputs and ends."""
    names: list[tuple[str, object]] = [("input", each.name) for each in inputs]
    return [*names, *(("logits" if len(ends) == 1 else "output", each.name) for each in ends)]


def refuse_unconnected(starts: Sequence[tf.Tensor], ends: Sequence[tf.Tensor], hints: Mapping[str, str]) -> None:
    """Raises a RewriteError for a network in which no real numbers lead from `starts` to `ends`.

    Where values do, as integers or within a loop, it names the operations that take real numbers and give others.
    """
    _refuse_turning(starts, ends, hints)
    raise RewriteError("The logits do not depend on the input.", facts_of(starts, ends))


def refuse_unread(start: tf.Tensor, ends: Sequence[tf.Tensor]) -> None:
    """Raises a RewriteError for an input of several that no real numbers lead from to any of `ends`."""
    _refuse_turning([start], ends, {})
    hint = 'Leave it out of "inputs", or let the network read it.'
    raise RewriteError("An input leads to none of the outputs.", facts_of([start], ends), hint)


def refuse_equal(ends: Sequence[tf.Tensor], on_path: Container[tf.Operation]) -> None:
    """Raises a RewriteError for results of one kind of one tensor: the converter makes one of them and leaves it float.

    `ends` has a tensor once for each of its results, which are the operations that read it and are not `on_path`.
    """
    counts = Counter(str(each.name) for each in ends)
    for end in ends:
        kinds = {each.type for each in end.consumers() if each not in on_path}
        if kinds and counts[end.name] > len(kinds):
            facts = [("tensor", end.name), ("outputs", counts[end.name])]
            raise RewriteError("Several outputs are the same values.", facts, "Name one output for this tensor.")


def _refuse_turning(starts: Sequence[tf.Tensor], ends: Sequence[tf.Tensor], hints: Mapping[str, str]) -> None:
    first = [each for start in starts for each in start.consumers() if each.type not in SHAPE_OPS]
    behind = reachable(first, lambda each: [one for one in readers(each) if one.type not in SHAPE_OPS])
    on_the_way = behind & reachable([end.op for end in ends], producers)
    loops = [each for each in on_the_way if kind(each) == "Loop"]
    turning = [each for each in on_the_way if any(_is_real(one) for one in each.inputs) and not _gives_reals(each)]
    named = sorted(loops or turning, key=lambda each: str(each.name))
    refuse_unsupported(
        [UnsupportedOp(layer_name(str(each.name), ""), kind(each), reason(kind(each)), each) for each in named], hints
    )


def _is_real(tensor: tf.Tensor) -> bool:
    return bool(tensor.dtype.is_floating)


def _gives_reals(operation: tf.Operation) -> bool:
    return any(map(_is_real, operation.outputs))


def _as_authored(each: UnsupportedOp) -> UnsupportedOp:
    """Returns an unsupported operation under its layer's name and class, as its author wrote them."""
    layer = None if each.operation is None else layer_of(each.operation)
    if layer is None:
        return each
    if layer.why:
        return _refused(layer)
    return replace(each, layer=layer.name, author=layer.kind)


def _refused(layer: AuthoredLayer) -> UnsupportedOp:
    return UnsupportedOp(layer.name, layer.kind, layer.why, hint=layer.hint)


def refuse_uneditable(graph: tf.Graph) -> None:
    """Raises a RewriteError if operations cannot be added to the graph, or if an optimizer was built in it already."""
    if graph.building_function:
        raise RewriteError(
            "A graph inside a tf.function cannot be rewritten.",
            hint="Build the network in a tf.Graph and run it in a tf.compat.v1.Session.",
        )
    if graph.finalized:
        raise RewriteError(
            "The graph is finalized and cannot be rewritten.",
            hint="Rewrite it before a session (MonitoredTrainingSession, Supervisor) takes it over.",
        )
    updates = [each for each in graph.get_operations() if _APPLIES_GRADIENTS.match(each.type)]
    if updates:
        raise RewriteError(
            "The graph already trains: its optimizer has the gradients of the network without quantization.",
            [(each.type, each.name) for each in updates[:_SHOWN]],
            "Rewrite the graph after the loss is built and before the optimizer's minimize().",
        )
