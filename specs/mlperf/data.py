"""Data for MLPerf Tiny's networks, made here: MLPerf's own are downloads of gigabytes.

Words are said by espeak-ng, machines are sums of tones and noises, pictures are parts of two photographs that come
with scikit-learn. They are like what the networks were trained on, so that ranges can be measured and a .tflite can be
compared with its float network; an accuracy on them is not MLPerf's figure.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom
from sklearn.datasets import load_sample_image

from specs.mlperf import sounds
from specs.mlperf.sounds import RATE_HZ, Sound, Voice

Arrays = dict[str, NDArray[Any]]

KEYWORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
WAKE_WORD = "marvin"
OTHERS = ("bed", "bird", "cat", "dog", "eight", "five", "four", "happy", "house", "nine", "one", "six", "three", "wow")
_ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbcwmd")
_SPEAKERS = ("", "+m1", "+m3", "+m5", "+m7", "+f1", "+f2", "+f3", "+f4")
_FAULTS = ("knock", "whine", "rattle")
_SEED = 20260101


def words(each: int = 100) -> Arrays:
    """Return features [n, 49, 10, 1] of ten keywords, silence and other words, and the labels in MLPerf's order."""
    classes = [*((word,) for word in KEYWORDS), (), (WAKE_WORD, *OTHERS)]
    return _said(classes, each, sounds.mfcc, (*KEYWORDS, "silence", "unknown"), steepest=2)


def wake_words(each: int = 200) -> Arrays:
    """Return features [n, 30, 1, 40] of the wake word, silence and other words, and the labels in MLPerf's order."""
    # The silence that this network was trained on is white noise.
    classes = [(WAKE_WORD,), (), (*KEYWORDS, *OTHERS)]
    return _said(classes, each, sounds.log_mel, (WAKE_WORD, "silence", "unknown"), steepest=0.4)


def machines(train: int = 20, test: int = 40) -> Arrays:
    """Return features [n, 640] of motors: normal ones for training; for testing as many with a fault, the label 1."""
    random = _random()
    normal = [sounds.machine_levels(sounds.machine(random, ())) for _ in range(train + test // 2)]
    faulty = [sounds.machine_levels(sounds.machine(random, [_FAULTS[row % 3]])) for row in range(test // 2)]
    tested = [*normal[train:], *faulty]
    labels = np.repeat([0, 1], [sum(map(len, normal[train:])), sum(map(len, faulty))])
    first = np.concatenate(normal[:train])
    return {
        "train_features": first,
        "train_labels": np.zeros(len(first), np.int32),
        "test_features": np.concatenate(tested),
        "test_labels": labels.astype(np.int32),
        "class_names": np.array(["normal", "faulty"]),
    }


def photographs(train: int = 300, test: int = 300, size_px: int = 96) -> Arrays:
    """Return parts of two photographs as bytes [n, size, size, 3], of all sizes, places and brightnesses."""
    random = _random()
    sources = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    pictures = np.zeros((train + test, size_px, size_px, 3), np.uint8)
    for picture, source in zip(pictures, sources * len(pictures), strict=False):
        side = int(random.integers(size_px, min(source.shape[:2])))
        top, left = (int(random.integers(0, length - side, endpoint=True)) for length in source.shape[:2])
        part = source[top : top + side, left : left + side, :: random.choice([-1, 1])].astype(np.float32)
        scaled = zoom(part, (size_px / side, size_px / side, 1), order=1)
        lit = scaled * random.uniform(0.5, 1.3) + random.uniform(-20, 40)
        picture[...] = np.clip(lit, 0, 255).astype(np.uint8)[:, :: random.choice([-1, 1])]
    return {"train_images": pictures[:train], "test_images": pictures[train:]}


def _said(
    classes: list[tuple[str, ...]], each: int, features: Any, names: tuple[str, ...], *, steepest: float
) -> Arrays:
    """Return `each` examples of each class, in random order: half for training, half for testing.

    `steepest` is the steepest slope of the noise that is added, see sounds.coloured.
    """
    random = _random()
    chosen = [
        (label, word)
        for label, words in enumerate(classes)
        for word in itertools.islice(itertools.cycle(words or ("",)), each)
    ]
    chosen = [chosen[row] for row in random.permutation(len(chosen))]
    voices = [_voice(random) for _ in chosen]
    with ThreadPoolExecutor() as pool:
        said = pool.map(_sound, [word for _, word in chosen], voices)
        rows = np.stack([features(_in_a_second(sound, random, steepest)) for sound in said])
    labels = np.array([label for label, _ in chosen], np.int32)
    half = len(rows) // 2
    return {
        "train_features": rows[:half],
        "train_labels": labels[:half],
        "test_features": rows[half:],
        "test_labels": labels[half:],
        "class_names": np.array(names),
    }


def _sound(word: str, voice: Voice) -> Sound:
    return sounds.spoken(word, voice) if word else np.zeros(1)


def _voice(random: np.random.Generator) -> Voice:
    name = str(random.choice(_ACCENTS)) + str(random.choice(_SPEAKERS))
    return Voice(name, int(random.integers(120, 190)), int(random.integers(20, 75)))


def _in_a_second(sound: Sound, random: np.random.Generator, steepest: float) -> Sound:
    """Put a sound somewhere into a second of faint noise, 1 at its peak."""
    second = np.zeros(RATE_HZ)
    first = int(random.integers(0, RATE_HZ - len(sound), endpoint=True))
    second[first : first + len(sound)] = sound
    second += 10 ** random.uniform(-3.5, -2) * sounds.coloured(random, RATE_HZ, random.uniform(0, steepest))
    return second / np.abs(second).max()


def _random() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(_SEED))
