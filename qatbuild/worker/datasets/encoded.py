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
from qatbuild.worker.datasets.threads import in_order

_AT_ONCE = 1 << 12
"""Offsets that are held before they are written."""


def paths(folder: Path, name: str) -> tuple[Path, Path]:
    """Return the two files of a column in the folder of its split."""
    return folder / f"{name}.encoded", folder / f"{name}.offsets.npy"


def write(folder: Path, name: str, contents: Iterable[bytes], count: int, size_bytes: int) -> None:
    """Write at most `count` encoded pictures, `size_bytes` in all; DatasetError if the disk has no room for them."""
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
        """Open the files; ArtifactError unless they hold `count` pictures."""
        self._path, offsets_path = paths(folder, name)
        assert column.decoding is not None
        self.shape, self._decoding, self._file = column.shape, column.decoding, None
        try:
            self._offsets: NDArray[np.int64] = np.load(offsets_path)
            self._file = self._path.open("rb", buffering=0)
            size_bytes = os.fstat(self._file.fileno()).st_size
        except (OSError, ValueError) as fault:
            reason = ("reason", fault)
            raise ArtifactError("A file of the dataset cannot be read.", [("file", self._path), reason]) from fault
        if len(self._offsets) != count + 1 or int(self._offsets[-1]) != size_bytes:
            got = f"{len(self._offsets) - 1} pictures in {self._offsets[-1]:,} bytes"
            wanted = f"{count} pictures in {size_bytes:,} bytes"
            facts = [("file", offsets_path), ("wanted", wanted), ("got", got)]
            raise ArtifactError("A file of the dataset is not as its facts say.", facts)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._offsets) - 1

    def read(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the pictures in the order of `index`, uint8 [n, height, width, channels]."""
        rows = np.empty((len(index), *self.shape), np.uint8)

        def fill(place: int) -> None:
            rows[place] = self._picture(int(index[place]))

        for _ in in_order(fill, range(len(index))):
            pass
        return rows

    def _picture(self, number: int) -> NDArray[np.uint8]:
        start, stop = self._offsets[number : number + 2].tolist()
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
