"""The names and classes of many pictures in a few bytes each: a hundred thousand paths would be felt in memory."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.datasets.rows import Indices

NO_CLASS = -1

_BLOCK = 512
_END = b"\0"
"""Ends a name: no file's holds it."""


class _Block(NamedTuple):
    """The names of at most _BLOCK pictures, and their classes."""

    number: int
    names: list[bytes]
    classes: NDArray[np.int32]


class PictureList:
    """Pictures by number: their files below a folder, and the numbers of their classes.

    `class_folders`: the folders of the classes in it, () where the names say all. Names and classes are compressed, but
    for those of one block, and of the last one.
    """

    def __init__(self, folder: Path, class_folders: Sequence[str] = ()) -> None:
        """Begins without a picture."""
        self.folder = folder
        self._class_folders = class_folders
        self._compressed: list[tuple[bytes, bytes]] = []
        self._names: list[bytes] = []
        self._classes: list[int] = []
        self._opened = _Block(-1, [], np.empty(0, np.int32))

    def add(self, name: str, label: int = NO_CLASS) -> None:
        """Adds the picture `name`, relative to its folder."""
        if len(self._names) == _BLOCK:
            names, classes = _END.join(self._names), np.array(self._classes, np.int32).tobytes()
            self._compressed.append((zlib.compress(names), zlib.compress(classes)))
            self._names, self._classes = [], []
        self._names.append(os.fsencode(name))
        self._classes.append(label)

    def __len__(self) -> int:
        return _BLOCK * len(self._compressed) + len(self._names)

    def __iter__(self) -> Iterator[str]:
        return (self.file(number) for number in range(len(self)))

    def path(self, number: int) -> Path:
        """Returns the file of a picture."""
        return Path(self.file(number))

    def file(self, number: int) -> str:
        """Returns the file of a picture as text; threads may ask at the same time.

        Not as a Path: these intern every name, in a table that grows and is copied again and again.
        """
        block, place = divmod(number, _BLOCK)
        if block == len(self._compressed):
            name, label = self._names[place], self._classes[place]
        else:
            opened = self._opened
            if opened.number != block:
                names = zlib.decompress(self._compressed[block][0]).split(_END)
                self._opened = opened = _Block(block, names, self._classes_of(block))
            name, label = opened.names[place], int(opened.classes[place])
        folder = self._class_folders[label] if self._class_folders else ""
        return os.path.join(self.folder, folder, os.fsdecode(name))  # noqa: PTH118

    def classes(self, index: Indices) -> NDArray[np.int32]:
        """Returns the classes of the pictures `index`, int32 [n]."""
        classes = np.empty(len(index), np.int32)
        blocks, places = np.divmod(index, _BLOCK)
        for block in dict.fromkeys(blocks.tolist()):  # np.unique would import numpy.ma, 5 MiB.
            here = blocks == block
            classes[here] = self._classes_of(block)[places[here]]
        return classes

    def _classes_of(self, block: int) -> NDArray[np.int32]:
        if block == len(self._compressed):
            return np.array(self._classes, np.int32)
        return np.frombuffer(zlib.decompress(self._compressed[block][1]), np.int32)


class Classes(NamedTuple):
    """The column of the classes of listed pictures."""

    pictures: PictureList

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        return np.dtype(np.int32)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return ()

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.pictures)

    def read(self, index: Indices) -> NDArray[np.int32]:
        """Returns rows in the order of `index`."""
        return self.pictures.classes(index)


Listed = Mapping[str, PictureList]
"""Split -> its pictures."""
