"""Bytes to arrays: each kind of dataset is the module of its name.

A kind is imported only when a spec names it, so that editing one leaves the code digest of the others alone. Such a
module has one public function `load(path, url, sha256, downloads) -> Dataset`: verified arrays, or DatasetError with
the file, the expected content and a hint.
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
    class_names: one per class. notes: sentences for the report; they do not depend on where the data lie, so that
    equal data make equal manifests.

    The order is the source's. It may be sorted by class; the training shuffles.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def load(name: str, path: Path | None, url: str | None, sha256: str | None, downloads: Path) -> Dataset:
    """The dataset `name`, from the user's `path` or else from its pinned source (digits: embedded).

    `path` is a file or folder and goes before `url`. A file there is compared with `sha256` if that is given; official
    checksums do not bind it, for people repack archives. Without `path` the data are downloaded into the folder
    `downloads`, from `url` and checked with `sha256` where these replace the pinned ones.

    Raises DatasetError where the data are missing, damaged or not of this kind.
    """
    if name not in NAMES:
        raise DatasetError("There is no such kind of dataset.", [("name", name), ("there are", ", ".join(NAMES))])
    if path is not None:
        _check_source(path, sha256)
    module = importlib.import_module(f"{__name__}.{name}")
    dataset: Dataset = module.load(path, url, sha256, downloads)
    return dataset


def _check_source(path: Path, sha256: str | None) -> None:
    if not path.exists():
        raise DatasetError(
            "The data are not where the spec says.",
            [("dataset.path", path)],
            'Put the data there or correct "path" (it is relative to the spec file); digits, cifar10 and idx can also '
            'do without "path": then the data are embedded or downloaded.',
        )
    if sha256 is None:
        return
    if path.is_dir():
        raise DatasetError(
            "A checksum belongs to one file, and the data are a folder.",
            [("dataset.path", path), ("dataset.sha256", sha256)],
            'Leave "sha256" out: the build notices changes in the folder without it.',
        )
    got = file_sha256(path)
    if got != sha256.lower():
        raise DatasetError(
            "The data file is not the one that the spec's checksum names.",
            [("dataset.path", path), ("sha256 got", got), ("sha256 wanted", sha256)],
            'Fetch the file again, or correct "sha256" if this file is the one you mean.',
        )
