"""Mean average precision of boxes as COCO defines it, over batches.

The definition is that of pycocotools.cocoeval, without crowds and ranges of areas: precision at 101 recalls, ten least
overlaps 0.5, 0.55, ... 0.95; the mean over the classes that have a true box.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tasks.boxes import Detections, overlaps

LEAST_OVERLAPS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_ALMOST_1 = 1 - 1e-10


class AveragePrecision:
    """Detections by class, with what they hit: 14 bytes each, all that average precision needs."""

    def __init__(self) -> None:
        """Begins without images."""
        self._scores: dict[int, list[NDArray[np.float32]]] = defaultdict(list)
        self._hits: dict[int, list[NDArray[np.bool_]]] = defaultdict(list)
        self._truths: dict[int, int] = defaultdict(int)

    def add(self, detected: Detections, boxes: NDArray[Any], classes: NDArray[Any]) -> None:
        """Adds an image: what was detected, and the true boxes [m, 4] with their classes [m]."""
        for each in np.unique(classes).tolist():
            self._truths[each] += int((classes == each).sum())
        for each in np.unique(detected.classes).tolist():
            rows = detected.classes == each
            self._scores[each].append(detected.scores[rows])
            self._hits[each].append(_hits(overlaps(detected.boxes[rows], boxes[classes == each])))

    def value(self) -> NDArray[np.float64] | None:
        """Returns the mean over the classes for each of LEAST_OVERLAPS, 0..1; None without any true box."""
        if not self._truths:
            return None
        means: NDArray[np.float64] = np.mean([self._of_class(each) for each in self._truths], axis=0)
        return means

    def _of_class(self, each: int) -> NDArray[np.float64]:
        if not self._scores[each]:
            return np.zeros(len(LEAST_OVERLAPS))
        order = np.argsort(-np.concatenate(self._scores[each]), kind="stable")
        hits = np.concatenate(self._hits[each])[order]
        return np.array([_precision(column, self._truths[each]) for column in hits.T])


def _hits(ratios: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns whether each detection of a class hits a true box, for each least overlap: bool [k, 10].

    `ratios` [k, m] are overlaps of detections, the likeliest first, and true boxes. Each detection takes the box that
    it overlaps most of those that no likelier one has taken.
    """
    hits = np.zeros((len(ratios), len(LEAST_OVERLAPS)), bool)
    last = ratios.shape[1] - 1
    for column, least in enumerate(LEAST_OVERLAPS if last >= 0 else ()):
        free = ratios.copy()
        for row in np.flatnonzero(ratios.max(axis=1) >= min(least, _ALMOST_1)):
            box = last - int(free[row, ::-1].argmax())  # Of equal ones the last, as there.
            if free[row, box] >= min(least, _ALMOST_1):
                hits[row, column] = True
                free[:, box] = -1
    return hits


def _precision(hits: NDArray[np.bool_], truths: int) -> float:
    """Returns the mean of the precision at 101 recalls; `hits` are those of all detections, the likeliest first."""
    right = np.cumsum(hits)
    recall = right / truths
    precision = np.maximum.accumulate((right / np.arange(1, len(hits) + 1))[::-1])[::-1]
    index = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[index].mean())
