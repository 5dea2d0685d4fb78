"""Exact percentiles of more values than memory holds: a radix selection over the bits of float32.

Read as integers, float32 numbers are in the order of their values once the bits of negative numbers are inverted. The
first pass counts the upper 16 bits, which gives the one of 65536 classes that holds the percentile; the second pass
counts the lower 16 bits within that class. So two passes and 1.5 MiB give the exact number, for any number of values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

_HALF = 16
_CLASSES = 1 << _HALF
_SIGN = np.uint32(1 << 31)


class PercentileObserver:
    """The `percent` percentile from either end, by the nearest rank.

    Of N values in order, the maximum has the rank ceil(N percent / 100), and the minimum the same rank from the other
    end: at most (100 - percent) % are above the maximum, and as many below the minimum. 100: the extremes.
    """

    passes = 2

    def __init__(self, percent: float) -> None:
        """Makes the observer of one range; see observers.Observer."""
        self._percent = Fraction(str(percent))
        self._upper = np.zeros(_CLASSES, np.int64)
        self._lower: dict[int, npt.NDArray[np.int64]] = {}
        self._ends: tuple[tuple[int, int], tuple[int, int]] | None = None
        """Of the minimum and of the maximum: the upper bits, and the rank among the values that share them."""

    def see(self, parts: Sequence[tuple[npt.NDArray[np.float32], int | None]]) -> None:
        """Counts the values of one batch."""
        for values, quantized_dimension in parts:
            assert quantized_dimension is None, "activations have no ranges per channel"
            keys = _keys(values)
            upper = keys >> _HALF
            if self._ends is None:
                self._upper += np.bincount(upper, minlength=_CLASSES)
                continue
            for number in self._lower:
                self._lower[number] += np.bincount(keys[upper == number] & (_CLASSES - 1), minlength=_CLASSES)

    def next_pass(self) -> None:
        """Goes on to the lower bits, in the two classes that hold the minimum and the maximum."""
        count = int(self._upper.sum())
        rank = math.ceil(self._percent * count / 100)
        self._ends = _find(self._upper, count - rank), _find(self._upper, rank - 1)
        self._lower = {number: np.zeros(_CLASSES, np.int64) for number, _ in self._ends}

    def measured(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Returns (min, max), scalars."""
        assert self._ends is not None
        least, greatest = (_number(number, _find(self._lower[number], rest)[0]) for number, rest in self._ends)
        return least, greatest


def _keys(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Returns integers in the order of the values."""
    bits = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _number(upper: int, lower: int) -> npt.NDArray[np.float64]:
    key = np.uint32(upper << _HALF | lower)
    bits = key & ~_SIGN if key & _SIGN else ~key
    return np.asarray(np.asarray(bits, np.uint32).view(np.float32), np.float64)


def _find(counts: npt.NDArray[np.int64], index: int) -> tuple[int, int]:
    """Returns the class of the value with this index in sorted order, and its index within the class."""
    sums = np.cumsum(counts)
    number = int(np.searchsorted(sums, index, side="right"))
    return number, index - (int(sums[number - 1]) if number else 0)
