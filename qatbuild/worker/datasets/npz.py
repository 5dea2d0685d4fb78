"""The user's own arrays: one .npz file with arrays of any names for two or three splits."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets import LABELS, Dataset
from qatbuild.worker.datasets.archive import DAMAGE
from qatbuild.worker.datasets.classes import Values
from qatbuild.worker.datasets.download import fetch
from qatbuild.worker.datasets.misfit import MisfitError
from qatbuild.worker.datasets.npz_member import Member
from qatbuild.worker.datasets.rows import Rows, with_channel
from qatbuild.worker.datasets.source import Source

SPLITS = ("train", "validation", "test")
IMAGES = "images"
CLASS_NAMES = "class_names"

HINT = (
    "Write it with numpy.savez(file, train_images=..., train_labels=..., test_images=..., test_labels=...): each name "
    "is a split (train, test, perhaps validation) and an array's name, each array [examples, ...] of uint8, whole or "
    "real numbers, and where wanted class_names, strings [classes]."
)
_FROM_0_HINT = "Save labels - 1: classes are counted from 0."
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]*")
_GREY_DIMENSIONS = 2


def load(source: Source, downloads: Path) -> Dataset:
    """Loads every array SPLIT_NAME of an .npz file as the column NAME, and class names.

    uint8 arrays of at least two dimensions stay bytes; other whole numbers, and True and False, become int32, real
    numbers float32. `images` [n, height, width] get a channel. `labels` of one number each are classes from 0 on;
    without class_names the training labels must contain every class. Other whole numbers are classes if NAME_names
    names them, or if they are 0, 1, 2, ... without a gap. Without a `path` the file comes from `url`, which needs
    a `sha256`. Pickled objects are never loaded; all is read through once, and then part by part.

    Raises DatasetError with the file, the array and what was expected.
    """
    return _Archive(_file(source, downloads), labels=source.labels).dataset()


def _file(source: Source, downloads: Path) -> Path:
    if source.path is not None:
        return source.path
    if source.url is None or source.sha256 is None:
        fields = (("path", None), ("url", source.url), ("sha256", source.sha256))
        raise DatasetError(
            "The dataset npz needs a file.",
            [(f"dataset.{name}", value or "missing") for name, value in fields],
            'Give "path", or "url" and "sha256" together.',
        )
    return fetch(source.url, source.sha256, downloads)


def _kind(rows: Rows) -> str:
    return f"{rows.dtype} [{', '.join(map(str, ('n', *rows.shape)))}]"


class _Archive:
    """The arrays of an .npz file, as they are verified."""

    def __init__(self, path: Path, *, labels: bool) -> None:
        self._path, self._labels = path, labels
        self._array = "(none yet)"
        self._values: dict[str, dict[str, Values]] = {}

    def dataset(self) -> Dataset:
        """Returns the columns; DatasetError."""
        try:
            names = self._names()
            splits = {
                split: {name: self._column(split, name) for name in self._columns(split, names)}
                for split in SPLITS
                if self._columns(split, names) or split == "train"
            }
            self._compare(splits)
            return Dataset(splits, self._classes(splits, names), self._left(splits, names))
        except DAMAGE as fault:
            self._fault(
                "it is damaged, or not an .npz file",
                str(fault) or type(fault).__name__,
                "an undamaged .npz file without pickled objects",
            )

    def _names(self) -> list[str]:
        self._array = "all"
        with self._path.open("rb") as stream:
            if stream.read(6) == b"\x93NUMPY":
                self._fault("it holds one array, not an archive", "a .npy file", "a .npz file")
        with zipfile.ZipFile(self._path) as archive:
            members = archive.namelist()
        names = [name.removesuffix(".npy") for name in members]
        if not any(name.startswith("train_") for name in names):
            self._array = "train_images" if IMAGES in str(names) else "train_..."
            got = f"only {', '.join(names[:8])}" if names else "nothing"
            self._fault("arrays are missing", got, "names that begin with train_ and test_")
        return names

    def _left(self, splits: dict[str, dict[str, Rows]], names: list[str]) -> tuple[str, ...]:
        """Returns a note about the arrays that are not read."""
        read = {f"{split}_{name}" for split, columns in splits.items() for name in columns}
        left = [name for name in names if name not in read and not name.endswith("_names")]
        return (f"arrays that are not read: {', '.join(sorted(left))}",) if left else ()

    def _columns(self, split: str, names: list[str]) -> list[str]:
        columns = [name.removeprefix(f"{split}_") for name in names if name.startswith(f"{split}_")]
        columns = [name for name in columns if not (name.endswith("_names") and name.removesuffix("_names") in columns)]
        return [name for name in columns if self._labels or name != LABELS]

    def _column(self, split: str, name: str) -> Rows:
        """Reads an array through once."""
        self._array = f"{split}_{name}"
        if not _NAME.fullmatch(name):
            self._fault("a name cannot be that of a file", repr(name), 'letters, digits, "_", "-", "." and spaces')
        try:
            member = Member(self._path, self._array)
            values = self._values.setdefault(name, {}).setdefault(split, Values())
            place = 0
            for block in member.blocks():
                if member.dtype == np.float32:
                    self._check_real(block, place)
                elif member.dtype == np.int32:
                    values.add(block)
                place += len(block)
        except MisfitError as fault:
            self._fault(fault.what, fault.got, fault.expected)
        numbers = np.iinfo(np.int32)
        if member.dtype == np.int32 and not numbers.min <= values.least <= values.greatest <= numbers.max:
            got = f"{values.least} .. {values.greatest}"
            # A label of this size is reported as the gap below it.
            if name != LABELS:
                self._fault("a number is too large", got, f"numbers {numbers.min} .. {numbers.max}")
        grey = name == IMAGES and len(member.shape) == _GREY_DIMENSIONS and member.dtype == np.uint8
        return with_channel(member) if grey else member

    def _check_real(self, block: npt.NDArray[Any], place: int) -> None:
        with np.errstate(over="ignore"):
            finite = np.isfinite(block.astype(np.float32))
        if not finite.all():
            row = int(np.argmin(finite.reshape(len(block), -1).all(axis=1)))
            value = block[row][~finite[row]][0]
            self._fault("a value is not a finite number", f"{value} in example {place + row}", "finite real numbers")

    def _compare(self, splits: dict[str, dict[str, Rows]]) -> None:
        train = splits["train"]
        for split, columns in splits.items():
            count = len(next(iter(columns.values())))
            for name in [*train, *(each for each in columns if each not in train)]:
                self._array = f"{split}_{name}"
                if name not in columns:
                    got = f"only {', '.join(f'{split}_{each}' for each in columns)}"
                    self._fault("arrays are missing", got, f"{self._array}, as train_{name}")
                if name not in train:
                    self._array = f"train_{name}"
                    got = f"only {', '.join(f'train_{each}' for each in train)}"
                    self._fault("arrays are missing", got, f"{self._array}, as {split}_{name}")
                rows, first = columns[name], train[name]
                if len(rows) != count:
                    whole = f"{split}_{next(iter(columns))}"
                    kind = "integers" if rows.dtype == np.int32 else str(rows.dtype)
                    self._fault(
                        "arrays of a split differ in length",
                        f"{rows.dtype} {[len(rows), *rows.shape]}",
                        f"{kind} [{count}{', ...' if rows.shape else ''}], one for each of {whole}",
                    )
                if (rows.dtype, rows.shape) != (first.dtype, first.shape):
                    expected = f"{_kind(first)}, as train_{name}"
                    self._fault("it differs from the training array", _kind(rows), expected)

    def _classes(self, splits: dict[str, dict[str, Rows]], names: list[str]) -> dict[str, tuple[str, ...]]:
        classes = {}
        whole = [name for name, rows in splits["train"].items() if rows.dtype == np.int32]
        lone = LABELS if LABELS in splits["train"] else whole[0] if len(whole) == 1 else None
        for name, rows in splits["train"].items():
            spellings = (f"{name}_names", *([CLASS_NAMES] if name == lone else []))
            array = next((each for each in spellings if each in names), None)
            named = None if array is None else self._class_names(array)
            if name in whole:
                each = self._of_numbers(name, rows.shape, named)
                if each is not None:
                    classes[name] = each
        return classes

    def _of_numbers(self, name: str, shape: tuple[int, ...], named: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Returns the names of a column's classes, None if it holds other numbers."""
        by_split = self._values[name]
        strict = name == LABELS and not shape
        if named is None:
            classes = by_split["train"].classes(name, shape)
            if strict and classes == 1 and all(each.classes(name, shape) in (1, 2) for each in by_split.values()):
                # All are normal; the test may have anomalies, too.
                classes = max(each.greatest for each in by_split.values()) + 1
            if classes is None and not strict:
                return None
            if classes is None:
                self._check_gaps(name, by_split["train"])
                return None
            named = tuple(str(label) for label in range(classes))
        for split, values in by_split.items():
            self._array = f"{split}_{name}"
            wrong = values.first_wrong(len(named), shape)
            if wrong is not None:
                what = "a label is negative" if wrong < 0 else "a label is not a class"
                self._fault(what, f"the label {wrong}", f"labels 0..{len(named) - 1}")
        return named

    def _check_gaps(self, name: str, values: Values) -> None:
        self._array = f"train_{name}"
        if values.least < 0:
            self._fault("a label is negative", f"the label {values.least}", "labels from 0 on")
        if values.is_counted_from_1:
            got = f"labels {values.least}..{values.greatest}"
            self._fault("the labels are counted from 1", got, "labels from 0 on, or class_names", _FROM_0_HINT)
        self._fault(
            "a class has no training images",
            f"labels up to {values.greatest}, but without {values.first_gap}",
            "every class in training, or class_names to say how many there are; real numbers for a regression",
        )

    def _class_names(self, array: str) -> tuple[str, ...]:
        self._array = array
        with zipfile.ZipFile(self._path) as archive, archive.open(f"{array}.npy") as stream:
            names = np.lib.format.read_array(stream, allow_pickle=False)
        if names.dtype.kind != "U" or names.ndim != 1 or len(names) == 0 or len(set(names.tolist())) != len(names):
            got = f"{names.dtype} {list(names.shape)}"
            self._fault("class names of another kind", got, "strings [classes], no two the same")
        if broken := [name for name in names.tolist() if name.splitlines() != [name]]:
            self._fault("a class name is not one line of text", repr(broken[0]), "a line each, none empty")
        return tuple(names.tolist())

    def _fault(self, what: str, got: str, expected: str, hint: str = HINT) -> NoReturn:
        facts = [("file", self._path), ("array", self._array), ("found", got), ("expected", expected)]
        raise DatasetError(f"The arrays cannot be used: {what}.", facts, hint)
