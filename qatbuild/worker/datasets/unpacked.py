"""What an archive holds, in a file without a name: written as it is decompressed, then read in any order."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.columns import no_room
from qatbuild.worker.datasets.rows import RowFile


class Unpacked(RowFile):
    """Rows of bytes, on a disk as long as they are used: their room is free again also if the process is killed."""

    def __init__(self, folder: Path, source: Path, shape: tuple[int, ...]) -> None:
        """Begins an array uint8 `shape` of what `source` holds, in `folder`; DatasetError if it cannot be written."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                super().__init__(file, source, start=0, dtype=np.uint8, shape=shape)
        except OSError as fault:
            raise self._fault(source, shape, fault) from fault

    def write(self, at: int, content: bytes) -> None:
        """Writes bytes to the place `at`; DatasetError if the disk has no room for them."""
        rest = memoryview(content)
        try:
            while rest:
                count = os.pwrite(self._descriptor, rest, at)
                rest, at = rest[count:], at + count
        except OSError as fault:
            raise self._fault(self._path, (len(self), *self.shape), fault) from fault

    def _fault(self, source: Path, shape: tuple[int, ...], fault: OSError) -> DatasetError:
        return no_room(self._folder / f"{source.name}, unpacked", math.prod(shape), fault)
