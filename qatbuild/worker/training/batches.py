"""The examples of each step: pure functions of (seed, step), vectorised in NumPy.

Random numbers come from Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), a generator that
is a function of its key and counter: the key is (seed, epoch or step), the counter's last word the use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qatbuild.worker.datasets.examples import Arrays, Examples

Indices = npt.NDArray[np.int64]

_ORDER, _AUGMENTATION = 1, 2


class Batch(NamedTuple):
    """The examples of a step: raw values by input, and targets by column, [batch, *shape] each."""

    inputs: Mapping[str, npt.NDArray[Any]]
    targets: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images: shifts by up to `pad_crop` pixels each way, and mirroring half the time.

    `fills` are the columns that move, all alike, [batch, height, width, ...]; a pixel that a shift uncovers gets the
    column's value: for images the byte of the input's mean, which means 0.0, or one for each channel.
    """

    pad_crop: int = 0
    flip_left_right: bool = False
    fills: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)


@dataclass
class Batches:
    """The training examples, batch by batch. Calling it with a step (the first is 0) returns that step's batch.

    The data is an endless sequence of epochs, each a permutation of all examples. Step s takes the s-th slice of
    `batch_size` examples, so a batch may span two epochs, and no example is left out. `columns` are those to read;
    `split` makes inputs and targets of them.
    """

    examples: Examples
    columns: tuple[str, ...]
    split: Callable[[Arrays], Batch]
    batch_size: int
    seed: int
    augmentation: Augmentation = Augmentation()
    _orders: dict[int, npt.NDArray[np.int32]] = field(default_factory=dict, repr=False)

    def __call__(self, step: int) -> Batch:
        """Returns the examples of the step after `step` completed ones."""
        rows = self.examples.read(self.index(step), self.columns)
        return self.split(self._augmented(rows, step))

    def index(self, step: int) -> Indices:
        """Returns the indices of the examples of a step: int64 [batch]."""
        count = len(self.examples)
        row = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = row // count
        parts = [self._order(int(epoch))[row[epochs == epoch] % count] for epoch in np.unique(epochs)]
        return np.concatenate(parts, dtype=np.int64)

    def _order(self, epoch: int) -> npt.NDArray[np.int32]:
        if epoch not in self._orders:
            self._orders = {other: rows for other, rows in self._orders.items() if other == epoch - 1}
            self._orders[epoch] = order(len(self.examples), self.seed, epoch)
        return self._orders[epoch]

    def _augmented(self, rows: Arrays, step: int) -> Arrays:
        pad, flip, fills = self.augmentation.pad_crop, self.augmentation.flip_left_right, self.augmentation.fills
        if not (fills and (pad or flip)):
            return rows
        random = _random(self.seed, step, _AUGMENTATION)
        shifts = random.integers(-pad, pad, size=(2, self.batch_size, 1), endpoint=True)
        mirrored = random.random((self.batch_size, 1)) < (0.5 if flip else 0.0)
        moved = {name: _moved(rows[name], shifts, mirrored, fill) for name, fill in fills.items()}
        return {**rows, **moved}


def order(count: int, seed: int, epoch: int) -> npt.NDArray[np.int32]:
    """Returns the order of `count` examples in an epoch: int32 [count], four bytes each, for there may be many."""
    rows = np.arange(count, dtype=np.int32)
    _random(seed, epoch, _ORDER).shuffle(rows)
    return rows


def _moved(
    images: npt.NDArray[Any], shifts: Indices, mirrored: npt.NDArray[np.bool_], fill: int | tuple[int, ...]
) -> npt.NDArray[Any]:
    """Returns images [batch, height, width, ...] shifted by rows and columns [2, batch, 1], and mirrored [batch, 1].

    One by one: NumPy's gather of all at once takes four times as long.
    """
    moved = np.full_like(images, fill)
    height, width = images.shape[1:3]
    for place, (down, right, mirror) in enumerate(zip(*shifts[..., 0].tolist(), mirrored[:, 0].tolist(), strict=True)):
        picture, aside = (images[place, :, ::-1], -right) if mirror else (images[place], right)
        rows, columns = _inside(down, height), _inside(aside, width)
        moved[place, rows, columns] = picture[_shifted(rows, down), _shifted(columns, aside)]
    return moved


def _inside(shift: int, size: int) -> slice:
    """Returns the positions to which a shift brings something from inside."""
    start = max(0, -shift)
    return slice(start, max(start, min(size, size - shift)))


def _shifted(positions: slice, shift: int) -> slice:
    return slice(positions.start + shift, positions.stop + shift)


def _random(seed: int, number: int, use: int) -> np.random.Generator:
    key = np.array([seed, number], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, use], dtype=np.uint64)))
