"""Measurements, pictures, series and scenes made of what scikit-learn ships, each with a way to spoil it."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_diabetes, load_digits, load_iris, load_wine

_SEED = 416
_TEST_EVERY = 4


def flowers(glitch=1.0):
    """Return 150 flowers, real [n, 4], and their kind; three for training are measured `glitch` times too large."""
    source = load_iris()
    features = (source.data - source.data.mean(0)) / source.data.std(0)
    arrays = _split(features=features.astype(np.float32), labels=source.target.astype(np.int64))
    arrays["train_features"][[3, 40, 80]] *= np.float32(glitch)
    return arrays


def wines(measured=0):
    """Return 178 wines, real [n, 13], and their kind; as `measured`, one column goes to 1,680 and others to 1."""
    source = load_wine()
    features = source.data if measured else source.data / source.data.std(0)
    return _split(features=features.astype(np.float32), labels=source.target.astype(np.int64))


def patients(second=None, test_gain=1.0):
    """Return 442 patients, real [n, 10]; their disease's progress, and with `second` their age in that unit.

    What was measured of those for testing, and their disease, is `test_gain` times as much.
    """
    source = load_diabetes()
    features = (source.data / source.data.std(0)).astype(np.float32)
    values = [source.target / source.target.std()]
    if second is not None:
        values.append(features[:, 0] * second)
    arrays = _split(features=features, values=np.stack(values, 1).astype(np.float32))
    for name in ("test_features", "test_values"):
        arrays[name] *= np.float32(test_gain)
    return arrays


def motors(loudness=0.0, unit=1.0, test_gain=1.0, examples=1200):
    """Return vibrations along two axes, real [n, 48, 2], and which of four speeds the motor has.

    loudness     deviation of the logarithm of an example's amplitude
    unit         of the measurements
    test_gain    how much louder the test examples are
    """
    random = np.random.Generator(np.random.Philox(_SEED))
    speed = random.integers(0, 4, examples)
    phase = random.uniform(0, 2 * np.pi, (examples, 1, 2))
    turns = 2 * np.pi * (0.06 + 0.05 * speed[:, None, None]) * np.arange(48)[None, :, None]
    signal = np.sin(turns + phase) + random.normal(0, 0.5, (examples, 48, 2))
    signal *= unit * np.exp(loudness * random.normal(0, 1, (examples, 1, 1)))
    arrays = _split(motion=signal.astype(np.float32), labels=speed.astype(np.int64))
    arrays["test_motion"] *= np.float32(test_gain)
    return arrays


def pixels(dim=1.0):
    """Return digits as bytes [n, 64]; those for training are `dim` times as bright."""
    arrays = _split(pixels=(load_digits().images * 15.9).reshape(-1, 64))
    arrays["train_pixels"] *= dim
    return {name: np.round(each).astype(np.uint8) for name, each in arrays.items()}


def coloured(faint=1.0):
    """Return digits [n, 16, 16, 3] in one of three colours, and the digit; blue is `faint` times as strong."""
    source = load_digits()
    random = np.random.Generator(np.random.Philox(_SEED))
    colour = random.uniform(0.3, 1, (len(source.images), 1, 1, 3)) * [1, 1, faint]
    images = source.images.repeat(2, 1).repeat(2, 2)[..., None] * 15.9 * colour
    return _split(images=np.round(images).astype(np.uint8), labels=source.target.astype(np.int64))


def scenes(examples=900, size_px=24):
    """Return pictures uint8 [n, size, size, 1] of two digits on noise; a class a pixel, 0..2; which digits are there.

    A pixel's class is 0 for the background, 1 for even digits and 2 for odd ones.
    """
    source = load_digits()
    random = np.random.Generator(np.random.Philox(_SEED))
    images = random.integers(0, 60, (examples, size_px, size_px))
    mask, seen = np.zeros_like(images), np.zeros((examples, 10), np.int32)
    for index in range(examples):
        for half in (0, size_px // 2):
            chosen = int(random.integers(len(source.images)))
            digit = (source.images[chosen] * 15.9).astype(int)
            top = int(random.integers(0, size_px - 7))
            left = half + int(random.integers(0, size_px // 2 - 7))
            spot = np.s_[index, top : top + 8, left : left + 8]
            images[spot] = np.maximum(images[spot], digit)
            mask[spot] = np.where(digit > 64, 1 + source.target[chosen] % 2, mask[spot])
            seen[index, source.target[chosen]] = 1
    return _split(images=images[..., None].astype(np.uint8), mask=mask.astype(np.int32), digits=seen)


def parcels(grams=1.0):
    """Return digits as bytes [n, 8, 8, 1] with weights, real [n, 2], in a unit; the digit, and a price by both."""
    source = load_digits()
    random = np.random.Generator(np.random.Philox(_SEED))
    weight = random.uniform(0.1, 2, (len(source.images), 2))
    price = weight.sum(1) * (1 + source.target / 4)
    return _split(
        images=np.round(source.images * 15.9).astype(np.uint8)[..., None],
        scales=(weight * grams).astype(np.float32),
        product=source.target.astype(np.int64),
        price=price[:, None].astype(np.float32),
    )


def _split(**columns):
    count = len(next(iter(columns.values())))
    is_test = np.random.Generator(np.random.Philox(_SEED)).permutation(count) % _TEST_EVERY == 0
    parts = {"train": ~is_test, "test": is_test}
    return {f"{part}_{name}": each[rows] for part, rows in parts.items() for name, each in columns.items()}
