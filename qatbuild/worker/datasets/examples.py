"""The examples of one split, as the dataset stage left them: named columns, read in any order.

A column is a file SPLIT/NAME.npy, an array [examples, *shape], or one of encoded pictures. It is read, not mapped:
pages of a mapped file count as memory of the process, which would so grow with the data. Several trainings share the
system's file cache either way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.dataset_facts import Column, DatasetFacts
from qatbuild.worker.datasets.encoded import EncodedFile
from qatbuild.worker.datasets.rows import Indices, Rows, array_file

Arrays = dict[str, NDArray[Any]]
"""Arrays by column, [examples, *shape]."""


class Examples:
    """One split, opened for reading. It holds no more than it is asked for."""

    def __init__(self, columns: Mapping[str, Column], rows: Mapping[str, Rows], count: int) -> None:
        """Takes the columns and the rows of each, `count` in number."""
        self.columns = columns
        self._rows = rows
        self._count = count

    def __len__(self) -> int:
        """Returns the number of examples."""
        return self._count

    def read(self, index: Indices, names: Collection[str] | None = None) -> Arrays:
        """Returns examples in the order of `index` (int64 [n]), by default of all columns: [n, *shape] each."""
        return {name: rows.read(index) for name, rows in self._rows.items() if names is None or name in names}

    def batches(self, size: int, names: Collection[str] | None = None) -> Iterator[Arrays]:
        """Yields all examples in their order, at most `size` at a time."""
        for start in range(0, self._count, size):
            yield self.read(np.arange(start, min(start + size, self._count)), names)

    def spread(self, count: int) -> Indices:
        """Returns `count` indices, fewer if there are fewer examples, evenly over the split, which may be sorted."""
        return np.unique(np.linspace(0, self._count - 1, min(count, self._count)).round().astype(np.int64))


def opened(folder: Path, split: str, facts: DatasetFacts) -> Examples:
    """Opens a split of the dataset in `folder`; ArtifactError if a file is not as the facts say."""
    count = int(facts.counts[split])
    rows = {name: _opened(folder / split, name, column, count) for name, column in facts.columns.items()}
    return Examples(facts.columns, rows, count)


def _opened(folder: Path, name: str, column: Column, count: int) -> Rows:
    if column.decoding is not None:
        return EncodedFile(folder, name, column, count)
    return array_file(folder / f"{name}.npy", column.dtype, (count, *column.shape))
