"""Histograms of real values beside the grid of a .tflite's tensor, counted batch by batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.details import Histogram
from qatbuild.worker.tflite.inspect import Tensor

BINS = 64
_FINE = 1024
"""Fine bins over a grid: of 8 bits, four hold what is rounded to one quantized value."""

_BEYOND = 4 * _FINE
"""Fine bins at either side of the grid. What lies beyond them counts as what is in the last one."""

_BITS = {"int4": 4, "int8": 8, "uint8": 8, "int16": 16}
_DIGITS = 6
_COUNT_DIGITS = 2
_BLOCK = 1 << 16
"""Values that are counted together: they stay in the processor's cache."""


class _Grid(NamedTuple):
    """A tensor's grid as fine bins: `start` is where they begin, half a step below the least real value."""

    start: float
    width: float
    bits: int

    @classmethod
    def of(cls, tensor: Tensor) -> _Grid:
        bits = _BITS[tensor.dtype]
        levels = 2**bits
        least = 0 if tensor.dtype.startswith("u") else -levels // 2
        step = max(tensor.scales)
        return cls(step * (least - tensor.zero_points[0] - 0.5), step * levels / _FINE, bits)


class Accumulated:
    """A histogram to which values are added; its memory does not grow with them."""

    def __init__(self, tensor: Tensor) -> None:
        """Counts values that `tensor` stands for; it must be quantized, with one scale or one for each channel."""
        self._tensor, self._grid = tensor, _Grid.of(tensor)
        self._counts = np.zeros(_FINE + 2 * _BEYOND, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Adds real values of any shape; those that are no finite numbers are left out."""
        flat = values.ravel()
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK]
            places = (block[np.isfinite(block)] - np.float32(self._grid.start)) * np.float32(1 / self._grid.width)
            places = np.clip(np.floor(places) + _BEYOND, 0, len(self._counts) - 1)
            self._counts += np.bincount(places.astype(np.intp), minlength=len(self._counts))

    def add_codes(self, counts: NDArray[np.int64]) -> None:
        """Adds quantized values: how often each of the 256 occurred, from the smallest on."""
        fine = _FINE // len(counts)
        self._counts[_BEYOND + fine // 2 : _BEYOND + _FINE : fine] += counts

    def histogram(self) -> Histogram | None:
        """Returns the histogram; None without a value."""
        (used,) = np.nonzero(self._counts)
        if not used.size:
            return None
        first, last = min(int(used[0]), _BEYOND), max(int(used[-1]), _BEYOND + _FINE - 1)
        merged = -(-(last + 1 - first) // BINS)  # fine bins in each bin
        first -= (merged * BINS - (last + 1 - first)) // 2
        first = min(max(first, 0), len(self._counts) - merged * BINS)
        counts = self._counts[first : first + merged * BINS].reshape(BINS, merged).sum(axis=1)
        grid, scales = self._grid, [_rounded(each) for each in self._tensor.scales]
        per_channel = len(scales) > 1
        return Histogram(
            minimum=_rounded(grid.start + grid.width * (first - _BEYOND)),
            maximum=_rounded(grid.start + grid.width * (first - _BEYOND + merged * BINS)),
            counts=[int(float(f"{count:.{_COUNT_DIGITS}g}")) for count in counts],
            scale=[min(scales), max(scales)] if per_channel else scales[0],
            zero_point=self._tensor.zero_points[0],
            bits=grid.bits,
            per_channel=per_channel,
        )


def is_quantized(tensor: Tensor) -> bool:
    """Returns whether a tensor has a grid."""
    return bool(tensor.scales) and tensor.dtype in _BITS


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
