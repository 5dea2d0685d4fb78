"""An array in an .npz archive, read from its start to its end a few rows at a time, never as a whole."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.datasets.misfit import MisfitError
from qatbuild.worker.datasets.rows import Indices

_BLOCK_BYTES = 1 << 24
LARGEST_FORTRAN_BYTES = 1 << 30
"""An array in Fortran's order has no rows that follow one another: up to this size it is read as a whole."""


class Member:
    """The rows of an array in the archive: uint8 as they are, other whole numbers as int32, real ones as float32."""

    def __init__(self, path: Path, name: str) -> None:
        """Reads the header of the array `name`; MisfitError or an error of a damaged archive."""
        self._path, self._name = path, name
        self._stream: IO[bytes] | None = None
        self._row, self._rows = 0, None
        with self._opened() as stream:
            version = np.lib.format.read_magic(stream)
            if version not in ((1, 0), (2, 0), (3, 0)):
                raise ValueError(f"version {version} of NumPy's format")
            shape, fortran, self.source_dtype = _header(stream, version)
            self._start = stream.tell()
        self.source_shape: tuple[int, ...] = shape
        if not shape:
            raise MisfitError(
                "it is a single value", got=f"{self.source_dtype} []", expected="an array [examples, ...]"
            )
        if any(size < 1 for size in shape):
            got = f"{self.source_dtype} {list(shape)}"
            raise MisfitError("it is empty", got=got, expected="at least one example, and no size 0")
        self.dtype = _column_dtype(self.source_dtype, shape)
        self.shape = shape[1:]
        self._row_bytes = math.prod(self.shape) * self.source_dtype.itemsize
        if fortran and len(shape) > 1:
            self._rows = self._fortran()

    def __len__(self) -> int:
        """Returns the number of rows."""
        return self.source_shape[0]

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yields all rows in the archive's own type, to its end, where the checksum is verified."""
        if self._rows is not None:
            yield self._rows
            return
        with self._opened() as stream:
            stream.read(self._start)
            for start in range(0, len(self), self._block_rows):
                yield self._taken(stream, min(self._block_rows, len(self) - start))
            if stream.read(1):
                raise ValueError("it is longer than its header says")

    def read(self, index: Indices) -> NDArray[Any]:
        """Returns rows in the order of `index`, [n, *shape]; fast if the calls go on from one another."""
        rows = np.empty((len(index), *self.shape), self.dtype)
        order = np.argsort(index, kind="stable")
        ascending = index[order]
        done = 0
        while done < len(ascending):
            start = int(ascending[done])
            stop = int(np.searchsorted(ascending, start + self._block_rows))
            block = self._block(start, int(ascending[stop - 1]) + 1 - start)
            rows[order[done:stop]] = block[ascending[done:stop] - start]
            done = stop
        return rows

    def __del__(self) -> None:
        if (stream := getattr(self, "_stream", None)) is not None:  # Collected with a traceback, it would warn.
            stream.close()

    @property
    def _block_rows(self) -> int:
        return max(1, _BLOCK_BYTES // max(1, self._row_bytes))

    def _opened(self) -> IO[bytes]:
        with zipfile.ZipFile(self._path) as archive:
            return archive.open(f"{self._name}.npy")  # It keeps the file open for itself.

    def _block(self, start: int, count: int) -> NDArray[Any]:
        if self._rows is not None:
            return self._rows[start : start + count]
        if self._stream is None or start < self._row:
            if self._stream is not None:
                self._stream.close()
            self._stream, self._row = self._opened(), 0
            self._stream.read(self._start)
        while self._row < start:
            skipped = min(self._block_rows, start - self._row)
            self._taken(self._stream, skipped)
            self._row += skipped
        self._row += count
        return self._taken(self._stream, count)

    def _taken(self, stream: IO[bytes], rows: int) -> NDArray[Any]:
        wanted_bytes = rows * self._row_bytes
        content = stream.read(wanted_bytes)
        if len(content) != wanted_bytes:
            raise EOFError(f"it ends early: {len(content):,} of {wanted_bytes:,} bytes of its last rows")
        return np.frombuffer(content, self.source_dtype).reshape(rows, *self.shape)

    def _fortran(self) -> NDArray[Any]:
        size_bytes = len(self) * self._row_bytes
        if size_bytes > LARGEST_FORTRAN_BYTES:
            what = "its examples are scattered (Fortran's order)"
            raise MisfitError(what, got=f"{size_bytes:,} bytes", expected="numpy.ascontiguousarray of it")
        with self._opened() as stream:
            stream.read(self._start)
            values = np.frombuffer(stream.read(), self.source_dtype)
        return values.reshape(self.source_shape[::-1]).T


def _header(stream: IO[bytes], version: tuple[int, int]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def _column_dtype(dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.dtype[Any]:
    got = f"{dtype} {list(shape)}"
    if dtype.hasobject:
        raise MisfitError("it holds Python objects, which are never loaded (allow_pickle)", got=got, expected="numbers")
    if dtype == np.uint8 and len(shape) > 1:
        return np.dtype(np.uint8)
    if dtype.kind in "iub":
        return np.dtype(np.int32)
    if dtype.kind == "f":
        return np.dtype(np.float32)
    raise MisfitError("its values are no numbers", got=got, expected="uint8, whole or real numbers")
