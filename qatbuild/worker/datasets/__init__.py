"""Datasets: each kind is a module of its name, which turns files into columns.

A kind is imported only when a spec names it, so that an edit of one does not change the code digests of the others.
Each module has one public function `load(source, downloads) -> Dataset`. It returns verified columns, or raises a
DatasetError with the file, the expected content and a hint.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.files import file_sha256
from qatbuild.worker.datasets.pictures import Pictures
from qatbuild.worker.datasets.rows import Rows
from qatbuild.worker.datasets.source import Source

NAMES = ("digits", "cifar10", "idx", "npz", "images", "tfrecord", "call")
"""The kinds of datasets: the values of the spec's `dataset.name`."""

LABELS = "labels"
"""The column of targets of the kinds with fixed names."""


@dataclass(frozen=True)
class Dataset:
    """A dataset as its kind reads it.

    splits: "train", and if the data have them "validation" and "test" -> column -> its rows, or its encoded pictures.
    All have at least one example and the same columns and shapes. class_names: column of classes (int32, 0..classes -
    1) -> their names. notes: sentences for the report, independent of the data's place, so that equal data give equal
    manifests.

    The order is the source's. It may be sorted by class; the training shuffles.
    """

    splits: Mapping[str, Mapping[str, Rows | Pictures]]
    class_names: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()

    def count(self, split: str) -> int:
        """Returns the number of examples of a split."""
        return len(next(iter(self.splits[split].values())))


def labelled_images(
    train: tuple[Rows, Rows], test: tuple[Rows, Rows], class_names: tuple[str, ...], notes: tuple[str, ...] = ()
) -> Dataset:
    """Returns the dataset of images uint8 [n, height, width, channels], 0..255, and their classes int32 [n]."""
    splits = {"train": train, "test": test}
    rows = {split: {"images": images, LABELS: labels} for split, (images, labels) in splits.items()}
    return Dataset(rows, {LABELS: class_names}, notes)


def load(source: Source, downloads: Path) -> Dataset:
    """Loads a dataset from the user's path or else from its pinned source (digits: embedded).

    The file is compared with `source.sha256`, if there is one, but not with the official checksum, because people
    repack archives. Without a path the data are downloaded into the folder `downloads`, from the pinned URL with its
    checksum, or from `source.url` with `source.sha256`. Without labels the column `labels` is left out.

    Raises DatasetError if the data are missing, damaged or not of this kind.
    """
    if source.name not in NAMES:
        facts = [("name", source.name), ("there are", ", ".join(NAMES))]
        raise DatasetError("The kind of dataset does not exist.", facts)
    if source.path is not None:
        _check_source(source.path, source.sha256)
    module = importlib.import_module(f"{__name__}.{source.name}")
    dataset: Dataset = module.load(source, downloads)
    return dataset if source.labels else _without_labels(dataset)


def _without_labels(dataset: Dataset) -> Dataset:
    splits = {
        split: {name: rows for name, rows in columns.items() if name != LABELS}
        for split, columns in dataset.splits.items()
    }
    class_names = {name: names for name, names in dataset.class_names.items() if name != LABELS}
    return replace(dataset, splits=splits, class_names=class_names)


def _check_source(path: Path, sha256: str | None) -> None:
    if not path.exists():
        raise DatasetError(
            "The data do not exist.",
            [("dataset.path", path)],
            'Put the data there or correct "path" (it is relative to the spec file); digits, cifar10 and idx can also '
            'do without "path": then the data are embedded or downloaded.',
        )
    if sha256 is None:
        return
    if path.is_dir():
        raise DatasetError(
            "dataset.sha256 is for one file, but the data are a folder.",
            [("dataset.path", path), ("dataset.sha256", sha256)],
            'Leave "sha256" out: the build notices changes in the folder without it.',
        )
    got = file_sha256(path)
    if got != sha256.lower():
        raise DatasetError(
            "The data file does not have the SHA-256 of the spec.",
            [("dataset.path", path), ("sha256 got", got), ("sha256 wanted", sha256)],
            'Fetch the file again, or correct "sha256" if this file is the one you mean.',
        )
