"""A CSV file of pictures: a header `name,label` or `name,label,split`, then a line for each picture."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.picture_folders import is_picture
from qatbuild.worker.datasets.picture_list import NO_CLASS, Listed, PictureList
from qatbuild.worker.datasets.source import Source, split_names

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
}
"""Values of the column `split`; dataset.splits names others."""

_HINT = (
    "Write a header name,label or name,label,split, then a line for each picture: its file relative to dataset.path, "
    "its class, and train, validation or test."
)


class _Row(NamedTuple):
    line: int
    name: str
    label: str
    split: str


def listed(source: Source, folder: Path, table: Path) -> tuple[Listed, tuple[str, ...]]:
    """Returns the pictures of each split in the table's order, and the classes, sorted by name.

    Without the column `split` all are for training. DatasetError with the line: a missing or double name, an empty
    class, an unknown split, a missing file, a class without training pictures.
    """
    rows = _Table(source, table)
    classes = tuple(sorted({row.label for row in rows.read() if row.split == "train"})) if source.labels else ()
    numbers = {name: number for number, name in enumerate(classes)}
    splits: dict[str, PictureList] = {}
    hashes = array("q")
    for row in rows.read():
        hashes.append(hash(row.name))
        if Path(row.name).is_absolute() or ".." in Path(row.name).parts:
            raise rows.fault(row.line, "the picture is not in dataset.path, of which changes are noticed", row.name)
        if not (folder / row.name).is_file():
            raise rows.fault(row.line, "the picture does not exist", str(folder / row.name))
        is_picture(str(folder), row.name, source)
        if source.labels and row.label not in numbers:
            raise rows.fault(row.line, "the class has no training pictures", row.label)
        splits.setdefault(row.split, PictureList(folder)).add(row.name, numbers.get(row.label, NO_CLASS))
    _check_twice(rows, hashes)
    if "train" not in splits:
        raise rows.fault(1, "no picture is for training", "no line with the split train")
    return splits, classes


def _check_twice(rows: _Table, hashes: Sequence[int]) -> None:
    """Raises a DatasetError for a name in two lines; a hash of each name suffices to see whether to look for one."""
    ascending = np.sort(np.array(hashes, np.int64))
    twice = set(ascending[1:][np.diff(ascending) == 0].tolist())
    lines: dict[str, int] = {}
    for row in rows.read() if twice else ():
        if hash(row.name) in twice and lines.setdefault(row.name, row.line) != row.line:
            raise rows.fault(row.line, f"{row.name} is in the table twice", f"also in line {lines[row.name]}")


class _Table:
    def __init__(self, source: Source, path: Path) -> None:
        self._path, self._labels = path, source.labels
        self._splits = {name: split for split, names in split_names(source, SPELLINGS).items() for name in names}

    def read(self) -> Iterator[_Row]:
        """Yields the lines of the table."""
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, strict=True)
                wanted = ["name", *(["label"] if self._labels else [])]
                header = [name.strip().lower() for name in reader.fieldnames or ()]
                if missing := [name for name in wanted if name not in header]:
                    got = ",".join(header) or "an empty file"
                    raise self.fault(1, f"its header lacks {' and '.join(missing)}", got)
                reader.fieldnames = header
                for fields in reader:
                    yield self._row(reader.line_num, fields)
        except FileNotFoundError as fault:
            raise self.fault(None, "it does not exist; its path is relative to the spec", str(self._path)) from fault
        except (OSError, UnicodeDecodeError, csv.Error) as fault:
            raise self.fault(None, "it cannot be read as a CSV file in UTF-8", str(fault)) from fault

    def _row(self, line: int, fields: dict[str, str]) -> _Row:
        name, label, split = ((fields.get(key) or "").strip() for key in ("name", "label", "split"))
        if not name:
            raise self.fault(line, "a name is missing", ",".join(map(str, fields.values())))
        if self._labels and (not label or label.splitlines() != [label]):
            raise self.fault(line, f"the class of {name} is missing or has several lines", repr(label))
        if "split" not in fields:
            split = "train"
        if split not in self._splits:
            expected = f"{split!r}, and not one of {', '.join(sorted(self._splits))}"
            raise self.fault(line, f"the split of {name} is unknown", expected)
        return _Row(line, name, label, self._splits[split])

    def fault(self, line: int | None, what: str, got: str) -> DatasetError:
        """Returns the error for a line of the table."""
        place = [] if line is None else [("line", line)]
        facts: list[tuple[str, object]] = [("dataset.table", self._path), *place, ("found", got)]
        return DatasetError(f"The table of pictures cannot be used: {what}.", facts, _HINT)
