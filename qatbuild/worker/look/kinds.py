"""Which kind of dataset files are, by their names."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.cifar10 import MEMBERS
from qatbuild.worker.datasets.idx import SHA256
from qatbuild.worker.datasets.picture_folders import ENDINGS

_MOST_NAMES = 10_000
_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_PACKED = (".zip", ".rar", ".7z")
_RECORDS = (".tfrecord", ".tfrecords", ".tfrec")
_HINT = (
    "Give a folder with a folder of pictures for each class, a CSV file with the header name,label, an .npz file of"
    " arrays, a folder of IDX files, or TFRecords."
)


class Place(NamedTuple):
    """Data of a kind: `dataset.name`, the file or folder, and the table of pictures, if there is one."""

    kind: str
    path: Path
    table: Path | None = None


def place(path: Path) -> Place:
    """Return what the data at `path` are; DatasetError for what no kind reads."""
    if not path.exists():
        raise DatasetError("The data do not exist.", [("data", path)], "correct the path of the data")
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> Place:
    names = set(_names(path))
    if not names:
        raise DatasetError("The folder of the data is empty.", [("data", path)], _HINT)
    if any(name.removesuffix(".gz").replace(".idx", "-idx") in SHA256 for name in names):
        return Place("idx", path)
    if names.intersection(MEMBERS):
        return Place("cifar10", path)
    if any(_is_record(name) for name in names):
        return Place("tfrecord", path)
    tables = [name for name in names if name.lower().endswith(".csv")]
    return _file(path / tables[0]) if len(tables) == 1 else Place("images", path)


def _file(path: Path) -> Place:
    name = path.name.lower()
    if name.endswith((".npz", ".npy")):
        return Place("npz", path)
    if name.endswith(".csv"):
        return Place("images", _folder_of(path), path)
    if _is_record(name):
        return Place("tfrecord", path)
    if name.endswith(_ARCHIVES) and "cifar" in name:
        return Place("cifar10", path)
    if name.endswith((*_ARCHIVES, *_PACKED)):
        raise DatasetError("The data are packed.", [("data", path)], "unpack them, and give the folder")
    if name.endswith(ENDINGS):
        raise DatasetError("The data are one picture.", [("data", path)], _HINT)
    raise DatasetError("No kind of dataset reads this file.", [("data", path)], _HINT)


def _is_record(name: str) -> bool:
    return name.lower().endswith(_RECORDS) or ".tfrecord-" in name.lower() or "-of-" in name


def _names(folder: Path) -> Iterator[str]:
    """Yield the names of the first entries of a folder: none of many pictures says more than these."""
    with os.scandir(folder) as entries:
        yield from (entry.name for _, entry in zip(range(_MOST_NAMES), entries, strict=False))


def _folder_of(table: Path) -> Path:
    """Return the folder that the names in a table begin in: the table's, or one in it that holds the first picture."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            first = next((row.get("name") or "" for row in csv.DictReader(file)), "")
    except (OSError, UnicodeDecodeError, csv.Error):  # The reader of the table says more.
        return table.parent
    folders = (folder for folder in sorted(table.parent.iterdir()) if folder.is_dir())
    return next((each for each in (table.parent, *folders) if first and (each / first).is_file()), table.parent)
