"""A column of encoded pictures: SPLIT/NAME.encoded, one after the other, and SPLIT/NAME.offsets.npy, where each begins.

They are decoded when they are read, on all cores: photographs take a tenth of their pixels' bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.dataset_facts import Column
from qatbuild.exchange.errors import ArtifactError
from qatbuild.worker.datasets import columns
from qatbuild.worker.datasets.pictures import PictureError, decode, pixels
from qatbuild.worker.datasets.rows import array_file
from qatbuild.worker.datasets.threads import in_order

_AT_ONCE = 1 << 12
"""Offsets that are held before they are written."""


def paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Returns the two files of a column in the folder of its split."""
    return folder / f"{name}.encoded", folder / f"{name}.offsets.npy"


def write(folder: Path, name: str, contents: Iterable[bytes], count: int, size_bytes: int) -> None:
    """Writes at most `count` encoded pictures, `size_bytes` in all; DatasetError if the disk has no room for them."""
    path, offsets_path = paths(folder, name)

    def offsets() -> Iterator[NDArray[np.int64]]:
        try:
            with path.open("wb") as file:
                ends = [0]
                for content in contents:
                    file.write(content)
                    ends.append(ends[-1] + len(content))
                    if len(ends) > _AT_ONCE:
                        yield np.array(ends[:-1], np.int64)
                        ends = ends[-1:]
                yield np.array(ends, np.int64)
        except OSError as fault:
            raise columns.no_room(path, size_bytes, fault) from fault

    columns.write(offsets_path, np.int64, (count + 1,), offsets())


class EncodedFile:
    """The rows of a column of encoded pictures, decoded when they are asked for."""

    dtype = np.dtype(np.uint8)

    def __init__(self, folder: Path, name: str, column: Column, count: int) -> None:
        """Opens the files; ArtifactError unless they hold `count` pictures."""
        self._path, offsets_path = paths(folder, name)
        assert column.decoding is not None
        self.shape, self._decoding, self._count, self._file = column.shape, column.decoding, count, None
        self._offsets = array_file(offsets_path, np.int64, (count + 1,))
        try:
            self._file = self._path.open("rb", buffering=0)
            size_bytes = os.fstat(self._file.fileno()).st_size
        except OSError as fault:
            reason = ("reason", fault)
            raise ArtifactError("A file of the dataset cannot be read.", [("file", self._path), reason]) from fault
        end = int(self._offsets.read(np.array([count]))[0])
        if end != size_bytes:
            facts = [("file", self._path), ("wanted", f"{end:,} bytes"), ("got", f"{size_bytes:,} bytes")]
            raise ArtifactError("A file of the dataset is not as its facts say.", facts)

    def __len__(self) -> int:
        """Returns the number of pictures."""
        return self._count

    def read(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Returns the pictures in the order of `index`, uint8 [n, height, width, channels]."""
        rows = np.empty((len(index), *self.shape), np.uint8)
        places = self._offsets.read(np.stack([index, index + 1], axis=1).reshape(-1)).reshape(-1, 2)

        def fill(row: int) -> None:
            rows[row] = self._picture(int(index[row]), *places[row].tolist())

        for _ in in_order(fill, range(len(index))):
            pass
        return rows

    def _picture(self, number: int, start: int, stop: int) -> NDArray[np.uint8]:
        assert self._file is not None
        try:
            picture, _ = decode(os.pread(self._file.fileno(), stop - start, start), self.shape, self._decoding)
        except PictureError as fault:
            facts = [("file", self._path), ("picture", number), ("reason", fault)]
            raise ArtifactError("A picture of the dataset cannot be decoded any more.", facts) from fault
        return pixels(picture)

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()
