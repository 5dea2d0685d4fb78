"""Columns of classes: whole numbers from 0 on, and how many examples each has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PADDING = -1
"""Fills what is shorter than its neighbours, such as the classes of a picture's objects."""

IGNORED = 255
"""The class of pixels that count for nothing, as in PASCAL VOC."""

OBJECTS = "_classes"
"""The end of the name of a column with the classes of a picture's objects."""

MOST_CLASSES = 1 << 16


class Values:
    """The whole numbers that a column holds, learnt part by part."""

    def __init__(self) -> None:
        """Begins without a value."""
        self.least, self.greatest = np.iinfo(np.int64).max, np.iinfo(np.int64).min
        self._present = np.zeros(MOST_CLASSES, bool)

    def add(self, part: NDArray[Any]) -> None:
        """Adds the values of a part of the column."""
        if not part.size:
            return
        self.least, self.greatest = min(self.least, int(part.min())), max(self.greatest, int(part.max()))
        part = part.astype(np.int64, copy=False)
        self._present[part[(part >= 0) & (part < MOST_CLASSES)]] = True

    @property
    def first_gap(self) -> int:
        """The least number from 0 on that does not occur."""
        return int(np.argmin(self._present)) if not self._present.all() else MOST_CLASSES

    @property
    def is_counted_from_1(self) -> bool:
        """Whether the numbers are 1, 2, 3, ... without a gap."""
        if not 1 == self.least < self.greatest < MOST_CLASSES:
            return False
        return bool(self._present[1 : self.greatest + 1].all())

    def classes(self, name: str, shape: tuple[int, ...]) -> int | None:
        """Returns the number of classes in the column `name` of rows `shape`; None if the numbers are no classes.

        Classes are 0, 1, 2, ... without a gap. Rows of several may hold PADDING and IGNORED, too. A row of zeros and
        ones has a class for each place.
        """
        if len(shape) == 1 and self.least >= 0 and self.greatest <= 1 and not name.endswith(OBJECTS):
            return shape[0]
        if not shape:
            whole = self.least >= 0 and self.greatest == self.first_gap - 1
        else:
            at_most = np.flatnonzero(np.delete(self._present, IGNORED))
            largest = self.first_gap - 1
            whole = self.least >= PADDING and (
                self.greatest == largest or (self.greatest == IGNORED and len(at_most) == largest + 1)
            )
        return self.first_gap if whole and self.first_gap else None

    def first_wrong(self, classes: int, shape: tuple[int, ...]) -> int | None:
        """Returns a value that is neither one of `classes` classes nor, in rows of several, PADDING or IGNORED."""
        if self.least < (PADDING if shape else 0):
            return self.least
        beyond = np.flatnonzero(self._present[classes:]) + classes
        wrong = [int(value) for value in beyond if not (shape and value == IGNORED)]
        return wrong[0] if wrong else self.greatest if self.greatest >= MOST_CLASSES else None


class Counted:
    """How many examples have each class: rows of one class, of several, or of a 0 or 1 for each."""

    def __init__(self, classes: int, shape: tuple[int, ...]) -> None:
        """Counts `classes` classes in rows of the shape `shape`."""
        self._shape = shape
        self._by_value = np.zeros(max(classes, 2), np.int64)
        self._by_place = np.zeros(classes, np.int64)
        self._others = False

    def add(self, part: NDArray[Any]) -> None:
        """Counts the classes of rows [n, *shape]; numbers that are no class do not count."""
        classes = len(self._by_value)
        values = part[(part >= 0) & (part < classes)]
        self._by_value += np.bincount(values.reshape(-1), minlength=classes)
        self._others |= values.size != part.size or bool((values > 1).any())
        if part.ndim > 1 and self._shape == self._by_place.shape:
            self._by_place += (part == 1).sum(axis=0)

    def counts(self) -> list[int]:
        """Returns the number of examples of each class, in rows of several that of their places."""
        by_place = self._shape == self._by_place.shape and not self._others
        counts = self._by_place if by_place else self._by_value[: len(self._by_place)]
        return [int(count) for count in counts]
