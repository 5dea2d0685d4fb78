"""Exact percentiles of more values than memory holds: a radix selection over the bits of float32.

Float32 numbers have the order of their bits, read as integers, once the bits of the negative ones are turned round. A
first look counts the upper 16 bits and tells in which of 65536 classes the wanted number lies, a second one counts the
lower 16 bits within that class. So two passes and 1.5 MiB give the very number, however many there are.
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


class Percentile:
    """The values between which `percent` % lie from either side, by the nearest rank.

    Of N values in order, high is the one of rank ceil(N percent / 100), low that of the same rank from the other end:
    at most (100 - percent) % are above high, and at most as many below low. 100: the least and greatest value.
    """

    passes = 2

    def __init__(self, percent: float) -> None:
        """An observer for one range: see calibration.Observer."""
        self._percent = Fraction(str(percent))
        self._upper = np.zeros(_CLASSES, np.int64)
        self._lower: dict[int, npt.NDArray[np.int64]] = {}
        self._wanted: tuple[tuple[int, int], tuple[int, int]] | None = None

    def see(self, parts: Sequence[tuple[npt.NDArray[np.float32], int | None]]) -> None:
        """Count one batch."""
        for values, channels in parts:
            assert channels is None, "of activations: they have no ranges per channel"
            keys = _keys(values)
            upper = keys >> _HALF
            if self._wanted is None:
                self._upper += np.bincount(upper, minlength=_CLASSES)
                continue
            for number in self._lower:
                self._lower[number] += np.bincount(keys[upper == number] & (_CLASSES - 1), minlength=_CLASSES)

    def next_pass(self) -> None:
        """The upper bits are counted: from now on only those classes count that hold an end."""
        count = int(self._upper.sum())
        rank = math.ceil(self._percent * count / 100)
        self._wanted = _find(self._upper, count - rank), _find(self._upper, rank - 1)
        self._lower = {number: np.zeros(_CLASSES, np.int64) for number, _ in self._wanted}

    def ends(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The two numbers."""
        assert self._wanted is not None
        low, high = (_number(number, _find(self._lower[number], rest)[0]) for number, rest in self._wanted)
        return low, high


def _keys(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Integers in the order of the numbers."""
    bits = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _number(upper: int, lower: int) -> npt.NDArray[np.float64]:
    key = np.uint32(upper << _HALF | lower)
    bits = key & ~_SIGN if key & _SIGN else ~key
    return np.asarray(np.asarray(bits, np.uint32).view(np.float32), np.float64)


def _find(counts: npt.NDArray[np.int64], index: int) -> tuple[int, int]:
    """In which class the value of an index in the order lies, and its index within that class."""
    sums = np.cumsum(counts)
    number = int(np.searchsorted(sums, index, side="right"))
    return number, index - (int(sums[number - 1]) if number else 0)
