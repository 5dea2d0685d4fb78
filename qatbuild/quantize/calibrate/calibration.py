"""Post-training quantization: ranges that are measured on images instead of learnt.

The graph is the float one with its batch norms folded, as `plan_inference` leaves it. A tensor that the input reaches
is looked at batch by batch; one that it does not reach, weights, is what it is, and has its least and greatest value.
What shares a range in the plan is one body of values here. Every range contains 0 (Jacob et al. 2018, section 3.1:
padding needs an exact zero); a symmetric one is -a .. a.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.calibrate.percentile import Percentile
from qatbuild.quantize.integer.learning import SMALLEST_RANGE
from qatbuild.quantize.rewrite_report import QuantizedTensor, RewriteReport
from qatbuild.quantize.tf1.ranges import DECAY

Values = npt.NDArray[np.float32]
Ends = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


class Observer(Protocol):
    """Looks at the values of one range: all batches of them, `passes` times, and then knows its two ends."""

    passes: int

    def see(self, parts: Sequence[tuple[Values, int | None]]) -> None:
        """Look at one batch: the tensors that share the range, each with the axis of its channels or None."""

    def next_pass(self) -> None:
        """All batches have been seen once more."""

    def ends(self) -> Ends:
        """Least and greatest: scalars, or [channels]."""


@dataclass
class Extremes:
    """The least and greatest value of all."""

    passes = 1
    _seen: Ends | None = field(default=None, init=False)

    def see(self, parts: Sequence[tuple[Values, int | None]]) -> None:
        """Widen the range to hold the batch."""
        self._seen = _union([_extremes(parts), *([] if self._seen is None else [self._seen])])

    def next_pass(self) -> None:
        """One is enough."""

    def ends(self) -> Ends:
        """The widest range so far."""
        assert self._seen is not None
        return self._seen


@dataclass
class MovingAverage:
    """The exponential moving average of each batch's least and greatest value, with 0: what training keeps.

    With decay d and n batches, (1 - d) sum of d^(n - i) x_i / (1 - d^n) (Kingma and Ba 2015, section 3).
    """

    passes = 1
    _sums: Ends | None = field(default=None, init=False)
    _weight: float = field(default=0.0, init=False)

    def see(self, parts: Sequence[tuple[Values, int | None]]) -> None:
        """Average the batch in."""
        low, high = _with_zero(_extremes(parts))
        before = self._sums or (np.zeros_like(low), np.zeros_like(high))
        self._sums = DECAY * before[0] + (1 - DECAY) * low, DECAY * before[1] + (1 - DECAY) * high
        self._weight = DECAY * self._weight + (1 - DECAY)

    def next_pass(self) -> None:
        """One is enough."""

    def ends(self) -> Ends:
        """The averages, not drawn to the zeros that they started from."""
        assert self._sums is not None
        return self._sums[0] / self._weight, self._sums[1] / self._weight


def observer(method: str, percentile: float | None = None) -> Observer:
    """The observer of a method: "min_max", "moving_average", or "percentile" with one (100: min_max)."""
    if method == "percentile":
        assert percentile is not None
        return Percentile(percentile)
    if method not in {"min_max", "moving_average"}:
        known = "min_max, moving_average, percentile"
        raise RewriteError("There is no such way to measure a range.", [("range", method), ("there are", known)])
    return Extremes() if method == "min_max" else MovingAverage()


def calibrate(
    session: tf.compat.v1.Session,
    plan: RewriteReport,
    source: str,
    batches: Callable[[], Iterable[Values]],
    new_observer: Callable[[], Observer] = Extremes,
) -> dict[str, Values]:
    """Measure the ranges of a plan: the value of each range variable by its name, float32 scalars or [channels].

    `session` is on the graph that `plan_inference` made the plan of, its variables have their values; `source` names
    the input operation. `batches` gives the images, float32 [batch, ...] of real values, the same ones each time that
    it is called. RewriteError naming each tensor that has values which are no numbers, or no values but 0.
    """
    reached = _reached(session.graph.get_operation_by_name(source.partition(":")[0]))
    rows = [row for row in plan.quantized if row.fixed is None]
    varying = [row for row in rows if session.graph.get_tensor_by_name(row.tensor).op in reached]
    constant = [row for row in rows if row not in varying]
    found: dict[tuple[str, str], list[Ends]] = {}

    observers = {_range(row): new_observer() for row in varying}
    for last in range(max((each.passes for each in observers.values()), default=0), 0, -1):
        for batch in batches():
            values = session.run([row.tensor for row in varying], {f"{source.partition(':')[0]}:0": batch})
            _refuse_what_is_no_number(varying, values)
            for ends, parts in _together(varying, values).items():
                observers[ends].see(parts)
        if last > 1:
            for each in observers.values():
                each.next_pass()
    for ends, each in observers.items():
        found.setdefault(ends, []).append(each.ends())

    values = session.run([row.tensor for row in constant])
    _refuse_what_is_no_number(constant, values)
    for ends, parts in _together(constant, values).items():
        found.setdefault(ends, []).append(_with_dead_channels(_extremes(parts)))

    measured = {_range(row): _finished(_union(found[_range(row)]), row) for row in rows}
    _refuse_empty(rows, measured)
    measured = {ends: _not_too_small(pair) for ends, pair in measured.items()}
    return {
        name: end.astype(np.float32) for ends, pair in measured.items() for name, end in zip(ends, pair, strict=True)
    }


def _range(row: QuantizedTensor) -> tuple[str, str]:
    return row.min_variable, row.max_variable


def _together(
    rows: Iterable[QuantizedTensor], values: Iterable[Values]
) -> dict[tuple[str, str], list[tuple[Values, int | None]]]:
    """The values by the range that they share."""
    parts: dict[tuple[str, str], list[tuple[Values, int | None]]] = {}
    for row, value in zip(rows, values, strict=True):
        parts.setdefault(_range(row), []).append((value, row.per_channel))
    return parts


def _reached(source: tf.Operation) -> set[tf.Operation]:
    """The operations whose results depend on the input."""
    reached: set[tf.Operation] = set()
    waiting = [source]
    while waiting:
        operation = waiting.pop()
        if operation not in reached:
            reached.add(operation)
            waiting += [consumer for tensor in operation.outputs for consumer in tensor.consumers()]
    return reached


def _extremes(parts: Iterable[tuple[Values, int | None]]) -> Ends:
    return _union([_least_and_greatest(values, axis) for values, axis in parts])


def _least_and_greatest(values: Values, channels: int | None) -> Ends:
    """Of all values, or with an axis of each index along it and the axes behind it, flattened, as in training."""
    axes = None if channels is None else tuple(range(channels))
    low, high = (np.asarray(end, np.float64) for end in (values.min(axes), values.max(axes)))
    return (low, high) if channels is None else (low.reshape(-1), high.reshape(-1))


def _union(ranges: Sequence[Ends]) -> Ends:
    return np.min([low for low, _ in ranges], axis=0), np.max([high for _, high in ranges], axis=0)


def _with_zero(ends: Ends) -> Ends:
    return np.minimum(ends[0], 0.0), np.maximum(ends[1], 0.0)


def _with_dead_channels(ends: Ends) -> Ends:
    """A channel of zeros is exact in any range, and needs one that is not empty: it gets that of the whole tensor."""
    dead = (ends[0] == 0) & (ends[1] == 0)
    return np.where(dead, ends[0].min(), ends[0]), np.where(dead, ends[1].max(), ends[1])


def _finished(ends: Ends, row: QuantizedTensor) -> Ends:
    low, high = _with_zero(ends)
    if not row.symmetric:
        return low, high
    # As in training: two's complement has one more negative code, unless narrow_range gives it up.
    codes = 2**row.bits
    ratio = -1.0 if row.narrow_range else -(codes - 2) / codes
    return np.minimum(low, high / ratio), np.maximum(high, low * ratio)


def _not_too_small(ends: Ends) -> Ends:
    """The same, at least as wide as training leaves a range; a symmetric one stays so."""
    low, high = ends
    return np.where(low == -high, np.minimum(low, -SMALLEST_RANGE), low), np.maximum(high, low + SMALLEST_RANGE)


def _refuse_what_is_no_number(rows: Iterable[QuantizedTensor], values: Iterable[Any]) -> None:
    # A least or greatest value is no finite number if any value is none.
    faults: list[tuple[str, object]] = [
        (row.tensor, f"{row.layer}: has values that are no numbers (NaN or infinite)")
        for row, value in zip(rows, values, strict=True)
        if not (np.isfinite(value.min()) and np.isfinite(value.max()))
    ]
    if faults:
        hint = "The float network itself computes them: look at its weights and its validation top-1."
        raise RewriteError("A range cannot be measured.", faults, hint)


def _refuse_empty(rows: Iterable[QuantizedTensor], measured: dict[tuple[str, str], Ends]) -> None:
    faults: list[tuple[str, object]] = [
        (row.tensor, f"{row.layer}: nothing but 0 within the range")
        for row in rows
        if not np.all(measured[_range(row)][0] < measured[_range(row)][1])
    ]
    if faults:
        hint = "Such a layer only gives zeros: look at its weights; or calibrate on more images, or by min_max."
        raise RewriteError("A range cannot be measured.", faults, hint)
