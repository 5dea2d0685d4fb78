"""The examples of one split, as the dataset stage left them: named columns, read in any order.

A column is a file SPLIT/NAME.npy, an array [examples, *shape], or one of encoded pictures. It is read, not mapped:
pages of a mapped file count as memory of the process, which would so grow with the data. Several trainings share the
system's file cache either way.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.dataset_facts import Column, DatasetFacts
from qatbuild.exchange.errors import ArtifactError
from qatbuild.worker.datasets.encoded import EncodedFile

Indices = NDArray[np.int64]
Arrays = dict[str, NDArray[Any]]
"""Arrays by column, [examples, *shape]."""


class Rows(Protocol):
    """The rows of one column: uint8, int32 or float32 [examples, *shape], read in any order."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def read(self, index: Indices) -> NDArray[Any]:
        """Return rows in the order of `index` (int64 [n]): [n, *shape]."""


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
        """Return the number of rows."""
        return len(self.array)

    def read(self, index: Indices) -> NDArray[Any]:
        """Return rows in the order of `index`."""
        rows: NDArray[Any] = self.array[index]
        return rows


class Examples:
    """One split, opened for reading. It holds no more than it is asked for."""

    def __init__(self, columns: Mapping[str, Column], rows: Mapping[str, Rows], count: int) -> None:
        """Take the columns and the rows of each, `count` in number."""
        self.columns = columns
        self._rows = rows
        self._count = count

    def __len__(self) -> int:
        """Return the number of examples."""
        return self._count

    def read(self, index: Indices, names: Collection[str] | None = None) -> Arrays:
        """Return examples in the order of `index` (int64 [n]), by default of all columns: [n, *shape] each."""
        return {name: rows.read(index) for name, rows in self._rows.items() if names is None or name in names}

    def batches(self, size: int, names: Collection[str] | None = None) -> Iterator[Arrays]:
        """Yield all examples in their order, at most `size` at a time."""
        for start in range(0, self._count, size):
            yield self.read(np.arange(start, min(start + size, self._count)), names)

    def spread(self, count: int) -> Indices:
        """Return `count` indices, fewer if there are fewer examples, evenly over the split, which may be sorted."""
        return np.unique(np.linspace(0, self._count - 1, min(count, self._count)).round().astype(np.int64))


def opened(folder: Path, split: str, facts: DatasetFacts) -> Examples:
    """Open a split of the dataset in `folder`; ArtifactError if a file is not as the facts say."""
    count = int(facts.counts[split])
    rows = {name: _opened(folder / split, name, column, count) for name, column in facts.columns.items()}
    return Examples(facts.columns, rows, count)


def _opened(folder: Path, name: str, column: Column, count: int) -> Rows:
    if column.decoding is not None:
        return EncodedFile(folder, name, column, count)
    return ArrayFile(folder / f"{name}.npy", column, count)


class ArrayFile:
    """The rows of an .npy file, which are read when they are asked for."""

    def __init__(self, path: Path, column: Column, count: int) -> None:
        """Open the file; ArtifactError unless it holds `count` rows of the column."""
        self._path, self._count, self._file = path, count, None
        try:
            self._file = path.open("rb", buffering=0)
            version = np.lib.format.read_magic(self._file)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, _, self.dtype = read_header(self._file)
        except (OSError, ValueError) as fault:
            raise ArtifactError("A file of the dataset cannot be read.", [("file", path), ("reason", fault)]) from fault
        if shape != (count, *column.shape) or self.dtype != column.dtype:
            got = f"{self.dtype} {list(shape)}"
            facts = [("file", path), ("wanted", f"{column.dtype} {[count, *column.shape]}"), ("got", got)]
            raise ArtifactError("A file of the dataset is not as its facts say.", facts)
        self._start = self._file.tell()
        self.shape = column.shape
        self._row_bytes = int(np.prod(column.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    def read(self, index: Indices) -> NDArray[Any]:
        """Return rows in the order of `index`."""
        rows = np.empty((len(index), *self.shape), self.dtype)
        view = rows.reshape(-1).view(np.uint8).data
        width = self._row_bytes
        for start, stop in _runs(index):
            self._fill(view[start * width : stop * width], self._start + int(index[start]) * width)
        return rows

    def _fill(self, into: memoryview, at: int) -> None:
        assert self._file is not None
        while into:
            count = os.preadv(self._file.fileno(), [into], at)
            if not count:
                raise ArtifactError("A file of the dataset is shorter than its array.", [("file", self._path)])
            into, at = into[count:], at + count

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()


def _runs(index: Indices) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each part of `index` whose rows follow one another in the file."""
    ends = [*(np.flatnonzero(np.diff(index) != 1) + 1).tolist(), len(index)]
    start = 0
    for stop in ends if len(index) else ():
        yield start, stop
        start = stop
