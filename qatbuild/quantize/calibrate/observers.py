"""Observers: each sees the values of one range, batch by batch, and returns its minimum and maximum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize.calibrate.percentile import PercentileObserver
from qatbuild.quantize.graph.fake_quant import EMA_DECAY

METHODS = ("min_max", "moving_average", "percentile")

Values = npt.NDArray[np.float32]
Parts = Sequence[tuple[Values, int | None]]
"""The tensors that share a range in one batch, each with its quantized dimension or None."""


class MeasuredRange(NamedTuple):
    """The minimum and maximum of a range: float64 scalars, or [channels]."""

    min: npt.NDArray[np.float64]
    max: npt.NDArray[np.float64]


class Observer(Protocol):
    """Measures one range: it sees all batches `passes` times, and `measured` then returns (min, max)."""

    passes: int

    def see(self, parts: Parts) -> None:
        """Takes in the values of one batch."""

    def next_pass(self) -> None:
        """Begins another pass: all batches were seen."""

    def measured(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Returns (min, max), scalars or [channels], after the last pass."""


@dataclass
class MinMaxObserver:
    """The minimum and maximum of all values."""

    passes = 1
    _range: MeasuredRange | None = field(default=None, init=False)

    def see(self, parts: Parts) -> None:
        """Widens the range to contain the batch."""
        self._range = union([extremes(parts), *([] if self._range is None else [self._range])])

    def next_pass(self) -> None:
        """Does nothing: there is one pass."""

    def measured(self) -> MeasuredRange:
        """Returns the minimum and maximum so far."""
        assert self._range is not None
        return self._range


@dataclass
class MovingAverageObserver:
    """The exponential moving average of each batch's minimum and maximum, widened to contain 0, as in training.

    With decay d and n batches, (1 - d) sum of d^(n - i) x_i / (1 - d^n) (Kingma and Ba 2015, section 3).
    """

    passes = 1
    _sums: MeasuredRange | None = field(default=None, init=False)
    _weight: float = field(default=0.0, init=False)

    def see(self, parts: Parts) -> None:
        """Adds the batch to the average."""
        batch = with_zero(extremes(parts))
        before = self._sums or MeasuredRange(np.zeros_like(batch.min), np.zeros_like(batch.max))
        self._sums = MeasuredRange(
            EMA_DECAY * before.min + (1 - EMA_DECAY) * batch.min, EMA_DECAY * before.max + (1 - EMA_DECAY) * batch.max
        )
        self._weight = EMA_DECAY * self._weight + (1 - EMA_DECAY)

    def next_pass(self) -> None:
        """Does nothing: there is one pass."""

    def measured(self) -> MeasuredRange:
        """Returns the averages, corrected for their start at 0."""
        assert self._sums is not None
        return MeasuredRange(self._sums.min / self._weight, self._sums.max / self._weight)


def observer(method: str, percentile: float | None = None) -> Observer:
    """Returns a new observer of a method of METHODS; "percentile" also needs a `percentile`; 100 is min_max."""
    if method == "percentile":
        assert percentile is not None
        return PercentileObserver(percentile)
    if method not in METHODS:
        hint = f"Write one of {', '.join(METHODS)}."
        raise RewriteError(f'Unknown calibration method "{method}".', [("range", method)], hint)
    return MinMaxObserver() if method == "min_max" else MovingAverageObserver()


def extremes(parts: Iterable[tuple[Values, int | None]]) -> MeasuredRange:
    """Returns the minimum and maximum of all values, or of each channel, [channels]."""
    return union([_extremes(values, dimension) for values, dimension in parts])


def union(ranges: Sequence[MeasuredRange]) -> MeasuredRange:
    """Returns the smallest range that contains all ranges."""
    return MeasuredRange(np.min([each.min for each in ranges], axis=0), np.max([each.max for each in ranges], axis=0))


def with_zero(measured: MeasuredRange) -> MeasuredRange:
    """Returns the range widened to contain 0."""
    return MeasuredRange(np.minimum(measured.min, 0.0), np.maximum(measured.max, 0.0))


def _extremes(values: Values, quantized_dimension: int | None) -> MeasuredRange:
    """Returns the range of all values, or of every index of the quantized dimension and the axes behind it."""
    axes = None if quantized_dimension is None else tuple(range(quantized_dimension))
    least, greatest = (np.asarray(end, np.float64) for end in (values.min(axes), values.max(axes)))
    if quantized_dimension is None:
        return MeasuredRange(least, greatest)
    return MeasuredRange(least.reshape(-1), greatest.reshape(-1))
