"""The check of mode integer: read a network as fused ops and ranges, or refuse it. The rewrite begins with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.graph.integer_ops import ONLY_AS_UINT8, OPS
from qatbuild.quantize.graph.refusals import UnsupportedOp, refuse_unsupported
from qatbuild.quantize.integer.fused_ops import FusedOp, read
from qatbuild.quantize.integer.path import DataPath
from qatbuild.quantize.integer.range_plan import RangePlan, plan
from qatbuild.quantize.options import Options


class Examined(NamedTuple):
    """A network that can become fully integer: its path, its fused ops, and the FakeQuants that they need."""

    path: DataPath
    ops: list[FusedOp]
    plan: RangePlan


def check_network(
    graph: tf.Graph,
    input: str,  # noqa: A002
    logits: str,
    hints: Mapping[str, str],
    options: Options,
) -> None:
    """Raise a RewriteError for a network that the rewrite would refuse; see quantize.modes."""
    examine(graph, options, input, logits, hints, training=False)


def examine(
    graph: tf.Graph,
    options: Options,
    input: str,  # noqa: A002
    logits: str,
    hints: Mapping[str, str],
    *,
    training: bool,
) -> Examined:
    """Return the network's fused ops and FakeQuants. The graph is not changed.

    RewriteError with one fact per layer that would be computed in float; `hints` maps a kind of operation to what the
    user can do about it.
    """
    path = DataPath.between(graph, input, logits, training=training)
    ops, unsupported = read(path, training=training)
    if options.scheme != "uint8":
        only_uint8 = [each for each in path.operations if each.type in OPS and OPS[each.type].only_uint8]
        unsupported += [UnsupportedOp(path.layer(each), each.type, ONLY_AS_UINT8, each) for each in only_uint8]
    refuse_unsupported(unsupported, hints)
    if not any(op.is_layer for op in ops):
        raise RewriteError(
            "The network has no layer that could be quantized: nothing was changed.",
            [("input", path.input.name), ("logits", path.logits.name)],
            "Call it after the network has been built, on the network's own graph.",
        )
    planned, unsupported = plan(path, ops, options)
    refuse_unsupported(unsupported, hints)
    return Examined(path, ops, planned)
