"""The one batch that every side of the benchmark trains on, over and over."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SIZE = 128
SHAPE = (32, 32, 3)
CLASSES = 10
MEAN, STD_DEV = 121.0, 64.0


def batch(size: int = SIZE) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Images uint8 [size, 32, 32, 3] and labels int32 [size]: random, of CIFAR-10's form, always the same."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (size, *SHAPE), dtype=np.uint8)
    return images, random.integers(0, CLASSES, size, dtype=np.int32)
