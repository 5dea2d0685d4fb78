"""Which kind of dataset files are, by their names."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.cifar10 import MEMBERS
from qatbuild.worker.datasets.idx import SHA256
from qatbuild.worker.datasets.picture_folders import ENDINGS
from qatbuild.worker.look import tables

_MOST_NAMES = 10_000
_ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_PACKED = (".zip", ".rar", ".7z")
_RECORDS = (".tfrecord", ".tfrecords", ".tfrec")
_ALONE = (".csv", ".tsv", ".npz")
_PICKLED = ("data_batch_1", "test_batch")
"""Files of CIFAR-10's Python version, whose reader says which version to get."""

_CLUTTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
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
    """Returns what the data at `path` are; DatasetError for what no kind reads."""
    if not path.exists():
        raise DatasetError("The data do not exist.", [("data", path)], "correct the path of the data")
    if not (path.is_dir() or path.is_file()):  # Reading a FIFO would wait.
        raise DatasetError("The data are neither a file nor a folder.", [("data", path)], _HINT)
    return _folder(path) if path.is_dir() else _file(path)


def _folder(path: Path) -> Place:
    names = {name for name in _names(path) if not is_clutter(name)}
    if not names:
        raise DatasetError("The folder of the data is empty.", [("data", path)], _HINT)
    if any(map(_is_idx, names)):
        return Place("idx", path)
    if names.intersection((*MEMBERS, *_PICKLED)):
        return Place("cifar10", path)
    if any(_is_record(name) for name in names):
        return Place("tfrecord", path)
    files = [name for name in sorted(names) if name.lower().endswith(_ALONE)]
    if len(files) > 1:
        facts = [("data", path), ("files", ", ".join(files))]
        hint = "Give one of them: a table has a column split, an .npz file has the arrays of all splits."
        raise DatasetError("The folder holds several data sets.", facts, hint)
    return _file(path / files[0]) if files else _inner(path, names) or Place("images", path)


def _inner(path: Path, names: Iterable[str]) -> Place | None:
    """Returns the data in a folder's only folder, as archives are unpacked; None if it may be the one class."""
    lone, *others = (path / name for name in names)
    if others or not lone.is_dir():
        return None
    inner = _folder(lone)
    is_class = inner.kind == "images" and any((lone / name).is_file() for name in _names(lone))
    return None if is_class else inner


def _file(path: Path) -> Place:
    name = path.name.lower()
    if name.endswith((".npz", ".npy")):
        return Place("npz", path)
    if name.endswith((".csv", ".tsv")):
        tables.check(path)
        return Place("images", _folder_of(path), path)
    if _is_idx(path.name):
        return Place("idx", path.parent)
    if _is_record(name):
        return Place("tfrecord", path)
    if name.endswith(_ARCHIVES) and "cifar" in name:
        return Place("cifar10", path)
    if name.endswith((*_ARCHIVES, *_PACKED)):
        raise DatasetError("The data are packed.", [("data", path)], "unpack them, and give the folder")
    if name.endswith(ENDINGS):
        raise DatasetError("The data are one picture.", [("data", path)], _HINT)
    raise DatasetError("No kind of dataset reads this file.", [("data", path)], _HINT)


def is_clutter(name: str) -> bool:
    """Returns whether an operating system leaves files of this name beside those of people."""
    return name.startswith(".") or name in _CLUTTER


def _is_idx(name: str) -> bool:
    return name.removesuffix(".gz").replace(".idx", "-idx") in SHA256


def _is_record(name: str) -> bool:
    return name.lower().endswith(_RECORDS) or ".tfrecord-" in name.lower() or "-of-" in name


def _names(folder: Path) -> Iterator[str]:
    """Yields the names of the first entries of a folder: none of many pictures says more than these."""
    with os.scandir(folder) as entries:
        yield from (entry.name for _, entry in zip(range(_MOST_NAMES), entries, strict=False))


def _folder_of(table: Path) -> Path:
    """Returns the folder that the names in a table begin in: the table's, or one in it that holds the first picture."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            first = next((row.get("name") or "" for row in csv.DictReader(file)), "")
    except (OSError, UnicodeDecodeError, csv.Error):  # The reader of the table says more.
        return table.parent
    folders = (folder for folder in sorted(table.parent.iterdir()) if folder.is_dir())
    return next((each for each in (table.parent, *folders) if first and (each / first).is_file()), table.parent)
