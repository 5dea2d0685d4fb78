"""The UCI handwritten digits that scikit-learn ships: 1,797 images of 8x8x1, ten classes, no download.

Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (its test half, 13 writers).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets import Dataset

LEVELS = 16
"""The brightest pixel of the source; 0 is the background."""

TEST_EVERY = 5


def load(path: Path | None, url: str | None, sha256: str | None, downloads: Path) -> Dataset:  # noqa: ARG001
    """Load the embedded digits: 1,437 for training and 360 for testing, uint8 [n, 8, 8, 1].

    Pixels 0..16 become bytes rint(pixel * 255 / 16). Split: sorted by class (stable, so in the source's order within
    a class) every fifth image, from the first on, is a test image; so each class gives a fifth of its images, to
    within one. No random numbers are involved. Training images keep the source's order, test images too. The writers
    of the two splits are the same people.

    DatasetError if the spec names a source: the digits are embedded.
    """
    fields = [
        (f"dataset.{label}", value) for label, value in (("path", path), ("url", url), ("sha256", sha256)) if value
    ]
    if fields:
        raise DatasetError(
            "The digits are embedded, but the spec names a source.",
            fields,
            'Leave these fields out, or use the dataset "idx", "npz" or "images" to read your own data.',
        )
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second

    source = load_digits()
    images = np.rint(source.images * (255 / LEVELS)).astype(np.uint8)[..., np.newaxis]
    labels = source.target.astype(np.int32)
    is_test = np.zeros(len(labels), bool)
    is_test[np.argsort(labels, kind="stable")[::TEST_EVERY]] = True
    return Dataset(
        train_images=images[~is_test],
        train_labels=labels[~is_test],
        test_images=images[is_test],
        test_labels=labels[is_test],
        class_names=tuple(str(digit) for digit in range(10)),
        notes=("train and test share their 13 writers: a test accuracy says nothing about new writers",),
    )
