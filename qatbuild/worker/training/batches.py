"""The examples of each step: pure functions of (seed, step), vectorised in NumPy.

Random numbers come from Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), a generator that
is a function of its key and counter: the key is (seed, epoch or step), the counter's last word the use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]

_ORDER, _AUGMENTATION = 1, 2


class Batch(NamedTuple):
    """`images`: uint8 [batch, height, width, channels], 0..255. `labels`: int32 [batch]."""

    images: Images
    labels: Labels


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images: shifts by up to `pad_crop` pixels each way, and mirroring half the time.

    Uncovered pixels get the byte `fill`, the input's mean, which means 0.0.
    """

    pad_crop: int = 0
    flip_left_right: bool = False
    fill: int = 0


@dataclass
class Batches:
    """The training examples, batch by batch. Calling it with a step (the first is 0) returns that step's batch.

    The data is an endless sequence of epochs, each a permutation of all examples. Step s takes the s-th slice of
    `batch_size` examples, so a batch may span two epochs, and no example is left out.
    """

    images: Images
    labels: Labels
    batch_size: int
    seed: int
    augmentation: Augmentation = Augmentation()
    _orders: dict[int, Indices] = field(default_factory=dict, repr=False)

    def __call__(self, step: int) -> Batch:
        """Return the examples of the step after `step` completed ones."""
        index = self.index(step)
        return Batch(self._augmented(index, step), self.labels[index])

    def index(self, step: int) -> Indices:
        """Return the indices of the examples of a step: int64 [batch]."""
        count = len(self.images)
        row = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = row // count
        parts = [self._order(int(epoch))[row[epochs == epoch] % count] for epoch in np.unique(epochs)]
        return np.concatenate(parts)

    def _order(self, epoch: int) -> Indices:
        if epoch not in self._orders:
            self._orders = {other: order for other, order in self._orders.items() if other == epoch - 1}
            self._orders[epoch] = _random(self.seed, epoch, _ORDER).permutation(len(self.images))
        return self._orders[epoch]

    def _augmented(self, index: Indices, step: int) -> Images:
        pad, flip = self.augmentation.pad_crop, self.augmentation.flip_left_right
        if not (pad or flip):
            return self.images[index]
        random = _random(self.seed, step, _AUGMENTATION)
        batch, (height, width) = len(index), self.images.shape[1:3]
        shifts = random.integers(-pad, pad, size=(2, batch, 1), endpoint=True)
        mirrored = random.random((batch, 1)) < (0.5 if flip else 0.0)
        rows, columns = np.arange(height) + shifts[0], np.arange(width)
        columns = np.where(mirrored, columns[::-1], columns) + shifts[1]
        near = rows.clip(0, height - 1)[:, :, None], columns.clip(0, width - 1)[:, None, :]
        images = self.images[index[:, None, None], *near]
        if pad:
            inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
            images[~inside] = self.augmentation.fill
        return images


def _within(positions: Indices, size: int) -> npt.NDArray[np.bool_]:
    return (positions >= 0) & (positions < size)


def _random(seed: int, number: int, use: int) -> np.random.Generator:
    key = np.array([seed, number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, use], dtype=np.uint64)))
