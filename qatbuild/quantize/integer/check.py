"""The check of mode integer: read a network as fused ops and ranges, or refuse it. The rewrite begins with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.graph.integer_ops import ONLY_AS_UINT8, OPS
from qatbuild.quantize.graph.layer_ops import variable_of
from qatbuild.quantize.graph.refusals import UnsupportedOp, refuse_unsupported
from qatbuild.quantize.integer import fold_inputs
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
    inputs: Sequence[str],
    ends: Sequence[str],
    hints: Mapping[str, str],
    options: Options,
) -> None:
    """Raises a RewriteError for a network that the rewrite would refuse; see quantize.modes."""
    examine(graph, options, inputs, ends, hints, training=False)


_HINTS = {
    "BatchNorm": "let it normalize the last axis, the channels, with moving averages of mean and variance",
    "Repeated": "call the layer once on each input, and use its result twice",
}


def _repeated(ops: Sequence[FusedOp]) -> list[UnsupportedOp]:
    """Returns the layers that compute once more what a layer with the same weights computes, with another activation.

    The converter computes both by one operation and gives its output neither range.
    """
    first: dict[tuple[str, ...], FusedOp] = {}
    repeated = []
    for op in ops:
        if op.weights_op is not None and op.norm is None:
            weights = op.weights_op.inputs[OPS[op.weights_op.type].weights]
            before = first.setdefault((op.sources[0].name, variable_of(weights).name), op)
            if before.output.op.type != op.output.op.type:
                why = f"{before.layer} computes the same values, with another activation behind them"
                repeated.append(UnsupportedOp(op.layer, "Repeated", why, op.operation))
    return repeated


def examine(
    graph: tf.Graph,
    options: Options,
    inputs: Sequence[str],
    ends: Sequence[str],
    hints: Mapping[str, str],
    *,
    training: bool,
) -> Examined:
    """Returns the network's fused ops and FakeQuants. The graph is not changed.

    RewriteError with one fact per layer that would be computed in float; `hints` maps a kind of operation to what the
    user can do about it.
    """
    hints = {**_HINTS, **hints}
    path = DataPath.between(graph, inputs, ends, training=training)
    ops, unsupported = read(path, training=training)
    unsupported += _repeated(ops)
    unsupported += fold_inputs.unsupported(path, options.folded_inputs, hints)
    if options.scheme != "uint8":
        only_uint8 = [each for each in path.operations if each.type in OPS and OPS[each.type].only_uint8]
        unsupported += [UnsupportedOp(path.layer(each), each.type, ONLY_AS_UINT8, each) for each in only_uint8]
    refuse_unsupported(unsupported, hints)
    if not any(op.is_layer for op in ops):
        raise RewriteError(
            "The network has no layer that could be quantized: nothing was changed.",
            path.facts,
            "Begin it with a convolution or a dense layer, whose weights are variables.",
        )
    planned, unsupported = plan(path, ops, options)
    refuse_unsupported(unsupported, hints)
    return Examined(path, ops, planned)
