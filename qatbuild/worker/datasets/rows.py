"""The rows of one column: an array in memory, rows of equal length in a file, or computed from other rows."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import ArtifactError

Indices = NDArray[np.int64]

_BLOCK_BYTES = 1 << 22


class Rows(Protocol):
    """The rows of one column: uint8, int32 or float32 [examples, *shape], read in any order."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""

    def __len__(self) -> int:
        """Returns the number of rows."""

    def read(self, index: Indices) -> NDArray[Any]:
        """Returns rows in the order of `index` (int64 [n]): [n, *shape]."""


class InMemory(NamedTuple):
    """The rows of an array [examples, *shape] in memory."""

    array: NDArray[Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.array.shape[1:]

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.array)

    def read(self, index: Indices) -> NDArray[Any]:
        """Returns rows in the order of `index`."""
        rows: NDArray[Any] = self.array[index]
        return rows


class Computed(NamedTuple):
    """Rows of `dtype` and `shape` that a function computes from other rows, [n, ...] to [n, *shape]."""

    source: Rows
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    compute: Callable[[NDArray[Any]], NDArray[Any]]

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.source)

    def read(self, index: Indices) -> NDArray[Any]:
        """Returns rows in the order of `index`."""
        return self.compute(self.source.read(index))


def with_channel(grey: Rows) -> Computed:
    """Returns grey images [height, width] as [height, width, 1]."""
    return Computed(grey, grey.dtype, (*grey.shape, 1), lambda images: images[..., np.newaxis])


class RowFile:
    """The rows of an array in a file, read when they are asked for."""

    _descriptor = -1

    def __init__(self, file: IO[bytes], path: Path, *, start: int, dtype: Any, shape: tuple[int, ...]) -> None:
        """Takes an array `shape` [n, ...] that begins at byte `start`, `path` for errors; `file` may be closed then."""
        # A descriptor: a file that is collected together with this object, as in a traceback, would warn.
        self._descriptor = os.dup(file.fileno())
        self._path, self._start = path, start
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.shape = shape[1:]
        self._count = shape[0]
        self._row_bytes = math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        """Returns the number of rows."""
        return self._count

    def read(self, index: Indices) -> NDArray[Any]:
        """Returns rows in the order of `index`; ArtifactError if the file has become shorter."""
        rows = np.empty((len(index), *self.shape), self.dtype)
        view = rows.reshape(-1).view(np.uint8).data
        width = self._row_bytes
        for start, stop in _runs(index):
            self._fill(view[start * width : stop * width], self._start + int(index[start]) * width)
        return rows

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yields all rows in their order, a few megabytes at a time."""
        size = max(1, _BLOCK_BYTES // max(1, self._row_bytes))
        for start in range(0, self._count, size):
            yield self.read(np.arange(start, min(start + size, self._count)))

    def _fill(self, into: memoryview, at: int) -> None:
        while into:
            count = os.preadv(self._descriptor, [into], at)
            if not count:
                raise ArtifactError("A file of the dataset is shorter than its array.", [("file", self._path)])
            into, at = into[count:], at + count

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def array_file(path: Path, dtype: Any, shape: tuple[int, ...]) -> RowFile:
    """Opens an .npy file of the dataset; ArtifactError unless it holds an array of this type and shape."""
    try:
        with path.open("rb", buffering=0) as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            got_shape, _, got_dtype = read_header(file)
            rows = RowFile(file, path, start=file.tell(), dtype=got_dtype, shape=got_shape)
    except (OSError, ValueError) as fault:
        raise ArtifactError("A file of the dataset cannot be read.", [("file", path), ("reason", fault)]) from fault
    if got_shape != shape or got_dtype != dtype:
        wanted, got = f"{np.dtype(dtype)} {list(shape)}", f"{got_dtype} {list(got_shape)}"
        facts = [("file", path), ("wanted", wanted), ("got", got)]
        raise ArtifactError("A file of the dataset is not as its facts say.", facts)
    return rows


def _runs(index: Indices) -> Iterator[tuple[int, int]]:
    """Yields (start, stop) of each part of `index` whose rows follow one another in the file."""
    ends = [*(np.flatnonzero(np.diff(index) != 1) + 1).tolist(), len(index)]
    start = 0
    for stop in ends if len(index) else ():
        yield start, stop
        start = stop
