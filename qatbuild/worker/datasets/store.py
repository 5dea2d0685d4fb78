"""Writing a dataset: a file for each column and split, and what is counted on the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.dataset_facts import Column, DatasetFacts
from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import console
from qatbuild.worker.datasets import Dataset, encoded
from qatbuild.worker.datasets.classes import OBJECTS, Counted
from qatbuild.worker.datasets.columns import ByteMoments, RealMoments, write
from qatbuild.worker.datasets.holdout import Numbers, Part
from qatbuild.worker.datasets.pictures import PictureError, Pictures, decode, pixels
from qatbuild.worker.datasets.rows import Rows
from qatbuild.worker.datasets.threads import in_order

LARGEST_GROWTH = 1.2
"""Pictures are stored as pixels if that takes at most so many times their encoded bytes."""

_CHUNK_BYTES = 1 << 22
_CHUNK_ROWS = 1 << 14
"""Of short rows the numbers take more than the rows themselves."""

_IMAGE_DIMENSIONS = 3
_NAMED = 5


class _Decoded(NamedTuple):
    """A picture: its encoded bytes, or its pixels where these are stored; None for a damaged one that is left out."""

    content: bytes | None
    pixels: npt.NDArray[np.uint8] | None
    histogram: list[int] | None
    changes: list[str]


class Store:
    """A folder in which a dataset is written, split by split."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        """Writes into `folder`."""
        self._folder, self._dataset = folder, dataset
        self._columns: dict[str, Column] = {}
        self._counts: dict[str, int] = {}
        self._classes: dict[str, dict[str, list[int]]] = {name: {} for name in dataset.class_names}
        self._conversions: Counter[str] = Counter()
        self._damaged = 0
        self._damaged_names: list[str] = []
        rows = [each for columns in dataset.splits.values() for each in columns.items()]
        raw: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for name, each in rows:
            if isinstance(each, Pictures):
                raw[name] += len(each) * math.prod(each.shape)
                size[name] += each.size_bytes
        self._as_pixels = {name for name in raw if raw[name] <= LARGEST_GROWTH * size[name]}

    def write(self, split: str, part: Part) -> None:
        """Writes the examples of a split; those whose picture is damaged are left out of every column."""
        index = part.index
        columns = self._dataset.splits[part.origin]
        for name, rows in columns.items():
            if isinstance(rows, Pictures):
                index = self._pictures(split, name, rows, index)
        for name, rows in columns.items():
            if not isinstance(rows, Pictures):
                self._array(split, name, rows, index)
        self._counts[split] = len(index)

    def facts(self, notes: tuple[str, ...]) -> DatasetFacts:
        """Returns what was written; DatasetError if every picture of the training or the test is damaged."""
        for split in ("train", "test"):
            if not self._counts[split]:
                raise DatasetError(f"No example is left for the {split} split.", [("damaged", self._damaged)])
        order = self._dataset.splits["train"]
        conversions = dict(sorted(self._conversions.items()))
        counted = [f"pictures: {', '.join(f'{count} {each}' for each, count in conversions.items())}"]
        if self._damaged:
            more = ", ..." if self._damaged > _NAMED else ""
            named = ", ".join(self._damaged_names) + more
            counted.append(f"left out as damaged: {self._damaged} pictures ({named})")
        return DatasetFacts(
            columns={name: self._columns[name] for name in order},
            counts=self._counts,
            class_counts=self._classes,
            notes=(*notes, *(counted if conversions else counted[1:])),
            conversions=conversions,
        )

    def _array(self, split: str, name: str, rows: Rows, index: Numbers) -> None:
        names = self._dataset.class_names.get(name, ())
        counted = Counted(len(names), () if name.endswith(OBJECTS) else rows.shape)
        moments = _moments(rows, names) if split == "train" else None

        def parts() -> Iterator[npt.NDArray[Any]]:
            for part in _chunks(rows, index):
                if moments is not None:
                    moments.add(part)
                if names:
                    counted.add(part)
                yield part

        write(self._folder / split / f"{name}.npy", rows.dtype, (len(index), *rows.shape), parts())
        if names:
            self._classes[name][split] = counted.counts()
        if split == "train":
            statistics = moments.statistics() if moments is not None else None
            self._columns[name] = Column(str(rows.dtype), rows.shape, names, statistics)

    def _pictures(self, split: str, name: str, rows: Pictures, index: Numbers) -> Numbers:
        """Writes the pictures, decodes each one; returns the index of those that are not damaged."""
        moments = ByteMoments(rows.shape[-1]) if split == "train" else None
        left_out: list[int] = []
        as_pixels = name in self._as_pixels

        def work(number: int) -> _Decoded:
            return _decoded(rows, number, as_pixels=as_pixels, count=moments is not None)

        def results() -> Iterator[_Decoded]:
            bar = console.bar(total=len(index), desc=f"{split} {name}", unit="picture")
            with bar:
                for place, each in enumerate(in_order(work, map(int, index))):
                    bar.update()
                    if each.content is None and each.pixels is None:
                        self._damaged += 1
                        if self._damaged <= _NAMED:
                            self._damaged_names.append(rows.name(int(index[place])))
                        left_out.append(place)
                        continue
                    self._conversions.update(each.changes)
                    if moments is not None and each.histogram is not None:
                        moments.add_histogram(each.histogram)
                    yield each

        if as_pixels:
            parts = (each.pixels for each in results() if each.pixels is not None)
            write(self._folder / split / f"{name}.npy", np.uint8, (len(index), *rows.shape), parts)
        else:
            contents = (each.content for each in results() if each.content is not None)
            encoded.write(self._folder / split, name, contents, len(index), rows.size_bytes)
        if moments is not None:
            decoding = None if as_pixels else rows.decoding
            self._columns[name] = Column("uint8", rows.shape, (), moments.statistics(), decoding)
        return np.delete(index, left_out) if left_out else index


def _decoded(rows: Pictures, number: int, *, as_pixels: bool, count: bool) -> _Decoded:
    try:
        content = rows.content(number)
        picture, changes = decode(content, rows.shape, rows.decoding)
    except PictureError as fault:
        if rows.skip_damaged:
            return _Decoded(None, None, None, [])
        raise damaged(rows.place(number), str(fault)) from fault
    histogram = picture.histogram() if count else None
    if as_pixels:
        return _Decoded(None, pixels(picture), histogram, changes)
    return _Decoded(content, None, histogram, changes)


def damaged(place: list[tuple[str, object]], reason: str) -> DatasetError:
    """Returns the error for a picture that cannot be used."""
    return DatasetError(
        "A picture cannot be used.",
        [*place, ("found", reason), ("expected", "a whole picture: PNG, JPEG, BMP, WebP, GIF, TIFF")],
        'Mend or remove it, or give "skip_damaged": true to leave such pictures out.',
    )


def _moments(rows: Rows, names: Mapping[str, Any] | tuple[str, ...]) -> ByteMoments | RealMoments | None:
    if rows.dtype == np.uint8:
        return ByteMoments(rows.shape[-1] if len(rows.shape) == _IMAGE_DIMENSIONS else 1)
    return None if names else RealMoments()


def _chunks(rows: Rows, index: Numbers) -> Iterator[npt.NDArray[Any]]:
    row_bytes = int(np.prod(rows.shape, dtype=np.int64)) * np.dtype(rows.dtype).itemsize
    size = min(_CHUNK_ROWS, max(1, _CHUNK_BYTES // max(1, row_bytes)))
    for start in range(0, len(index), size):
        yield rows.read(index[start : start + size].astype(np.int64))
