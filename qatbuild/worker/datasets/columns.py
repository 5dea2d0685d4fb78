"""Writing the columns of a split: arrays of any length, a few rows at a time, with statistics on the way."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.dataset_facts import RealStatistics, Statistics
from qatbuild.exchange.errors import DatasetError

DTYPES = ("uint8", "int32", "float32")
"""The types of columns: bytes, classes and other whole numbers, real values."""

_DECIMALS = 4


def write(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], parts: Iterable[npt.NDArray[Any]]) -> None:
    """Writes the rows of `parts`, in all `shape` [examples, ...], as one .npy file; equal rows make equal bytes.

    Fewer rows than `shape` says make a shorter array. DatasetError if the disk has no room for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    row_bytes = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    written_bytes = 0
    try:
        with path.open("wb") as file:
            _write_header(file, dtype, shape)
            for part in parts:
                written_bytes += file.write(np.ascontiguousarray(part, dtype).reshape(-1).view(np.uint8).data)
            if row_bytes and written_bytes != shape[0] * row_bytes:
                file.seek(0)
                _write_header(file, dtype, (written_bytes // row_bytes, *shape[1:]))
    except OSError as fault:
        raise no_room(path, math.prod(shape) * np.dtype(dtype).itemsize, fault) from fault


def _write_header(file: IO[bytes], dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
    """Writes the header, whose length does not depend on the number of rows (NumPy leaves room for it to grow)."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def no_room(path: Path, size_bytes: int, fault: OSError) -> DatasetError:
    """Returns the error for a file of the dataset that cannot be written."""
    free_bytes = shutil.disk_usage(next(each for each in path.parents if each.is_dir())).free
    return DatasetError(
        "The dataset cannot be written.",
        [("file", path), ("reason", fault), ("needed", f"{size_bytes:,} bytes"), ("free", f"{free_bytes:,} bytes")],
        "Make room on that disk, or give the build the right to write there.",
    )


class ByteMoments:
    """Mean and standard deviation of bytes by channel, the last axis; exact up to the final rounding."""

    def __init__(self, channels: int) -> None:
        """Counts the values of `channels` channels."""
        self._histogram = np.zeros((channels, 256), np.int64)

    def add(self, rows: npt.NDArray[np.uint8]) -> None:
        """Counts the bytes of rows [n, ..., channels]; of rows of any shape if there is one channel."""
        by_channel = rows.reshape(-1, len(self._histogram))
        for channel in range(len(self._histogram)):
            self._histogram[channel] += np.bincount(by_channel[:, channel], minlength=256)

    def add_histogram(self, counts: list[int]) -> None:
        """Counts values that are counted already: `counts[256 * channel + value]`."""
        self._histogram += np.array(counts).reshape(self._histogram.shape)

    def statistics(self) -> Statistics | None:
        """Returns the statistics, rounded to 4 decimals; None without any byte."""
        if not self._histogram.any():
            return None
        each = [_moments(row.tolist()) for row in self._histogram]
        mean_all, std_all = _moments(self._histogram.sum(axis=0).tolist())
        return Statistics(tuple(mean for mean, _ in each), tuple(std for _, std in each), mean_all, std_all)


class RealMoments:
    """Extremes, mean and standard deviation of real values, by Chan, Golub and LeVeque 1979: one pass, in float64."""

    def __init__(self) -> None:
        """Begins without a value."""
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._least, self._greatest = math.inf, -math.inf

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """Adds the values of rows [n, ...]."""
        if not rows.size:
            return
        values = rows.astype(np.float64)
        count, mean = values.size, float(values.mean())
        total, apart = self._count + count, mean - self._mean
        self._squares += float(np.square(values - mean).sum()) + apart**2 * self._count * count / total
        self._mean += apart * count / total
        self._count = total
        self._least = min(self._least, float(values.min()))
        self._greatest = max(self._greatest, float(values.max()))

    def statistics(self) -> RealStatistics | None:
        """Returns the statistics, six significant digits each; None without any value."""
        if not self._count:
            return None
        figures = self._least, self._greatest, self._mean, math.sqrt(self._squares / self._count)
        return RealStatistics(*(float(f"{figure:.6g}") for figure in figures))


def _moments(histogram: list[int]) -> tuple[float, float]:
    """Returns mean and standard deviation of bytes; `histogram[v]` is the number of bytes with the value v."""
    count = sum(histogram)
    first = sum(value * times for value, times in enumerate(histogram))
    second = sum(value * value * times for value, times in enumerate(histogram))
    variance = (count * second - first * first) / (count * count)
    return round(first / count, _DECIMALS), round(math.sqrt(variance), _DECIMALS)
