"""Errors raised before the first edit: graphs that cannot be edited, operations without an integer kernel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.graph.integer_ops import CONSTRUCTS, DEFAULT_HINTS

_APPLIES_GRADIENTS = re.compile(r"(Resource)?(Sparse)?Apply[A-Z]")
_SHOWN = 10


@dataclass(frozen=True)
class UnsupportedOp:
    """An operation that the converter would compute in float: its layer's name in the network, its kind, the reason."""

    layer: str
    kind: str
    why: str
    operation: tf.Operation | None = field(default=None, compare=False)


def refuse_unsupported(unsupported: Iterable[UnsupportedOp], hints: Mapping[str, str]) -> None:
    """Raise a RewriteError if there are unsupported operations: one fact per layer, and the hints for all kinds.

    Of several operations of one layer the first is named, but a construct (LRN, BatchNorm) before any other type.
    `hints` maps a kind to what the user can do; it takes precedence over DEFAULT_HINTS.
    """
    by_layer: dict[str, UnsupportedOp] = {}
    for each in unsupported:
        first = by_layer.setdefault(each.layer, each)
        if each.kind in CONSTRUCTS and first.kind not in CONSTRUCTS:
            by_layer[each.layer] = each
    if not by_layer:
        return
    kinds = list(dict.fromkeys(each.kind for each in by_layer.values()))
    texts = {kind: text for kind in kinds if (text := hints.get(kind) or DEFAULT_HINTS.get(kind))}
    raise RewriteError(
        "The network cannot be made fully integer.",
        [(each.layer, f"{each.kind}: {each.why}") for each in by_layer.values()],
        "; ".join(text if len(kinds) == 1 else f"{text} (for {kind})" for kind, text in texts.items()),
    )


def refuse_uneditable(graph: tf.Graph) -> None:
    """Raise a RewriteError if operations cannot be added to the graph, or if an optimizer was built in it already."""
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
