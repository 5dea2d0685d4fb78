"""The examples that are looked at: evenly spaced, so that every look sees the same ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.look import InputLook
from qatbuild.worker.datasets.pictures import Pictures, decode, pixels

_MOST_VALUES = 1 << 25
"""Values of a sample in memory, at most."""

MOST_DECODED = 256


def every(count: int, most: int) -> NDArray[np.int64]:
    """Returns the numbers of at most `most` of `count` examples, evenly spaced, ascending, int64 [n]."""
    return np.arange(count) if count <= most else np.arange(most) * count // most


class Sample:
    """Sums over the values of examples of one shape: uint8 or float32."""

    def __init__(self, shape: Sequence[int], dtype: str = "uint8") -> None:
        """Begins without an example."""
        self.shape, self.dtype = tuple(shape), dtype
        self.examples = 0
        self.least, self.greatest = math.inf, -math.inf
        self.is_whole = True
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def add(self, rows: NDArray[Any]) -> None:
        """Adds examples [n, *shape]."""
        self.dtype = str(rows.dtype)
        self.examples += len(rows)
        per_block = max(1, _MOST_VALUES // max(1, math.prod(self.shape)))
        for start in range(0, len(rows), per_block):
            values = rows[start : start + per_block].astype(np.float64)
            self.least, self.greatest = min(self.least, float(values.min())), max(self.greatest, float(values.max()))
            self.is_whole &= bool((values == np.round(values)).all())
            self._count += values.size
            self._sum += float(values.sum())
            self._squares += float((values**2).sum())

    def add_pictures(self, pictures: Pictures, index: NDArray[np.int64]) -> None:
        """Decodes and adds some of the pictures `index`; PictureError."""
        for number in index[every(len(index), MOST_DECODED)].tolist():
            picture, _ = decode(pictures.content(number), pictures.shape, pictures.decoding)
            self.add(pixels(picture)[np.newaxis])

    @property
    def mean(self) -> float:
        """The mean of all values."""
        return self._sum / max(1, self._count)

    @property
    def std(self) -> float:
        """The standard deviation of all values."""
        return math.sqrt(max(0.0, self._squares / max(1, self._count) - self.mean**2))

    def look(self, name: str) -> InputLook:
        """Returns what was seen, as the input `name`."""
        return InputLook(name, self.dtype, self.shape, self.mean, self.std, self.least, self.greatest)
