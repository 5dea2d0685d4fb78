"""Datasets: each kind is a module of its name, which turns files into arrays.

A kind is imported only when a spec names it, so that an edit of one does not change the code digests of the others.
Each module has one public function `load(path, url, sha256, downloads) -> Dataset`. It returns verified arrays, or
raises a DatasetError with the file, the expected content and a hint.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.files import file_sha256

NAMES = ("digits", "cifar10", "idx", "npz", "images")
"""The kinds of datasets: the values of the spec's `dataset.name`."""

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Dataset:
    """Labelled images in two splits.

    train_images, test_images: uint8 [examples, height, width, channels], 0..255; both splits have at least one example
    and the same height, width and channels.
    train_labels, test_labels: int32 [examples], 0..classes - 1.
    class_names: one per class. notes: sentences for the report, independent of the data's place, so that equal data
    give equal manifests.

    The order is the source's. It may be sorted by class; the training shuffles.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def load(name: str, path: Path | None, url: str | None, sha256: str | None, downloads: Path) -> Dataset:
    """Load the dataset `name`, from the user's `path` or else from its pinned source (digits: embedded).

    `path` is a file or folder and goes before `url`. The file is compared with `sha256`, if there is one, but not with
    the official checksum, because people repack archives. Without `path` the data are downloaded into the folder
    `downloads`, from the pinned URL with its checksum, or from `url` with `sha256`.

    Raises DatasetError if the data are missing, damaged or not of this kind.
    """
    if name not in NAMES:
        raise DatasetError("The kind of dataset does not exist.", [("name", name), ("there are", ", ".join(NAMES))])
    if path is not None:
        _check_source(path, sha256)
    module = importlib.import_module(f"{__name__}.{name}")
    dataset: Dataset = module.load(path, url, sha256, downloads)
    return dataset


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
