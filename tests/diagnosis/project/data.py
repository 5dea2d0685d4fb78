"""Digits of 8 x 8 pixels, in the light that they were taken in."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

_TRAIN = 1400


def digits(light="even"):
    """Return the digits as bytes 0..240, or darker: see `_bytes`."""
    numbers = load_digits()
    images, labels = numbers.images[..., None] / 16, numbers.target.astype(np.int64)
    brightness = _brightness(light, len(images))
    pixels = np.round(images * brightness[:, None, None, None]).astype(np.uint8)
    parts = {"train": slice(_TRAIN), "test": slice(_TRAIN, None)}
    return {
        f"{part}_{name}": each[rows]
        for part, rows in parts.items()
        for name, each in (("images", pixels), ("labels", labels))
    }


def two_values():
    """Return digits with two targets: the digit by 10, and 1000 times the mean pixel, 0..1."""
    arrays = digits()
    parts = {}
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        mean = images.reshape(len(images), -1).mean(1) / 255
        parts[f"{part}_images"] = images
        parts[f"{part}_values"] = np.stack([labels / 10, 1000 * mean], 1).astype(np.float32)
    return parts


def _brightness(light, count):
    """Return the greatest pixel of each image, 0..255."""
    even = np.full(count, 240.0)
    if light == "two flashes":  # Two training images of all are 40 times as bright as the others.
        even[:] = 6
        even[[100, 900]] = 240
    elif light == "cloudy":  # Most images are dark, some bright.
        even = 12 * 20 ** np.random.default_rng(5).random(count) ** 4
    elif light == "dark training":
        even[:_TRAIN] = 12
    return even
