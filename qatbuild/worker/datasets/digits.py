"""The UCI handwritten digits that scikit-learn ships: 1,797 images of 8x8x1, ten classes, no download.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test half, 13 writers).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets import Dataset, labelled_images
from qatbuild.worker.datasets.rows import InMemory
from qatbuild.worker.datasets.source import Source

LEVELS = 16
"""The brightest pixel of the source; 0 is the background."""

TEST_EVERY = 5


def load(source: Source, downloads: Path) -> Dataset:  # noqa: ARG001
    """Loads the embedded digits: 1,437 for training and 360 for testing, uint8 [n, 8, 8, 1].

    Pixels 0..16 become bytes rint(pixel * 255 / 16). Split: sorted by class (stable, so in the source's order within
    a class) every fifth image, from the first on, is a test image; so each class gives a fifth of its images, to
    within one. No random numbers are involved. Training images keep the source's order, test images too. The writers
    of the two splits are the same people.

    DatasetError if the spec names a source: the digits are embedded.
    """
    named = (("path", source.path), ("url", source.url), ("sha256", source.sha256))
    fields = [(f"dataset.{label}", value) for label, value in named if value]
    if fields:
        raise DatasetError(
            "The digits are embedded, but the spec names a source.",
            fields,
            'Leave these fields out, or use the dataset "idx", "npz" or "images" to read your own data.',
        )
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second

    digits = load_digits()
    images = np.rint(digits.images * (255 / LEVELS)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int32)
    is_test = np.zeros(len(labels), bool)
    is_test[np.argsort(labels, kind="stable")[::TEST_EVERY]] = True
    return labelled_images(
        (InMemory(images[~is_test]), InMemory(labels[~is_test])),
        (InMemory(images[is_test]), InMemory(labels[is_test])),
        class_names=tuple(str(digit) for digit in range(10)),
        notes=("train and test share their 13 writers: a test accuracy says nothing about new writers",),
    )
