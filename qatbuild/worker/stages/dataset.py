"""The dataset stage: verified arrays of three splits in one file, and their statistics."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.facts import DatasetFacts, Statistics
from qatbuild.exchange.request import Request
from qatbuild.worker import datasets
from qatbuild.worker.datasets import Dataset, Images
from qatbuild.worker.stages import warnings

FILE = "dataset.npz"

HOLD_OUT_SEED = 20180912
"""Seed of the split, part of the meaning of `dataset.validation`: a fraction is the same images in every build."""

MAX_VALIDATION = 0.5

_CHUNK_IMAGES = 1000


def run(request: Request) -> DatasetFacts:
    """Load the dataset, hold out validation images, write `dataset.npz`.

    The file has train_images, validation_images, test_images: uint8 [n, height, width, channels], 0..255, and
    train_labels, validation_labels, test_labels: int32 [n]. It is uncompressed, and equal data make equal bytes.

    The statistics are those of the training images without the held-out ones, rounded to 4 decimals.

    DatasetError if the data are missing, damaged or of another kind, or the disk has no room for the file.
    """
    settings = request.settings["dataset"]
    source = request.sources.get("data")
    dataset = datasets.load(
        settings["name"],
        source.path if source else None,
        settings.get("url"),
        settings.get("sha256"),
        request.downloads,
    )
    arrays = _splits(dataset, settings["validation"])
    _write(request.out / FILE, arrays)
    labels = {split: arrays[f"{split}_labels"] for split in ("train", "validation", "test")}
    classes = len(dataset.class_names)
    height, width, channels = dataset.train_images.shape[1:]
    facts = DatasetFacts(
        shape=(height, width, channels),
        classes=classes,
        class_names=dataset.class_names,
        counts={split: len(rows) for split, rows in labels.items()},
        class_counts={split: np.bincount(rows, minlength=classes).tolist() for split, rows in labels.items()},
        statistics=_statistics(arrays["train_images"]),
        notes=dataset.notes,
    )
    warnings.tell(request, warnings.of_classes(facts))
    return facts


def _splits(dataset: Dataset, validation: float) -> dict[str, npt.NDArray[Any]]:
    """Return train, validation and test arrays by name: validation is the tail of a permutation of the training set.

    Both parts keep the source's order. A larger fraction holds out the same images and some more.
    """
    if not 0 <= validation <= MAX_VALIDATION:
        expected = f"a fraction of the training set, 0..{MAX_VALIDATION}"
        raise DatasetError(
            "The part to hold out for validation is out of range.",
            [("dataset.validation", validation), ("expected", expected)],
        )
    count = len(dataset.train_images)
    held_count = round(count * validation)
    # RandomState's stream is frozen for good (NEP 19); Generator's may change with a version of NumPy.
    order = np.random.RandomState(HOLD_OUT_SEED).permutation(count)
    is_held = np.zeros(count, bool)
    is_held[order[count - held_count :]] = True
    return {
        "train_images": dataset.train_images[~is_held] if held_count else dataset.train_images,
        "train_labels": dataset.train_labels[~is_held],
        "validation_images": dataset.train_images[is_held],
        "validation_labels": dataset.train_labels[is_held],
        "test_images": dataset.test_images,
        "test_labels": dataset.test_labels,
    }


def _write(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write equal arrays as equal bytes: numpy.savez dates its members 1980-01-01 and keeps their order."""
    try:
        np.savez(path, allow_pickle=False, **arrays)
    except OSError as fault:
        size_bytes = sum(array.nbytes for array in arrays.values())
        free_bytes = shutil.disk_usage(path.parent).free
        raise DatasetError(
            "The dataset cannot be written.",
            [("file", path), ("reason", fault), ("needed", f"{size_bytes:,} bytes"), ("free", f"{free_bytes:,} bytes")],
            "Make room on that disk, or give the build the right to write there.",
        ) from fault


def _statistics(images: Images) -> Statistics:
    """Return statistics of images uint8 [n, height, width, channels], exact up to the final rounding."""
    channels = images.shape[3]
    histogram = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), _CHUNK_IMAGES):
        chunk = images[start : start + _CHUNK_IMAGES]
        for channel in range(channels):
            histogram[channel] += np.bincount(chunk[..., channel].reshape(-1), minlength=256)
    each = [_moments(row.tolist()) for row in histogram]
    mean_all, std_all = _moments(histogram.sum(axis=0).tolist())
    return Statistics(tuple(mean for mean, _ in each), tuple(std for _, std in each), mean_all, std_all)


def _moments(histogram: list[int]) -> tuple[float, float]:
    """Return mean and standard deviation of bytes; `histogram[v]` is the number of bytes with the value v."""
    count = sum(histogram)
    first = sum(value * times for value, times in enumerate(histogram))
    second = sum(value * value * times for value, times in enumerate(histogram))
    return round(first / count, 4), round(math.sqrt((count * second - first * first) / (count * count)), 4)
