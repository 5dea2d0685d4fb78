"""How far the outputs of a .tflite are from those of its graph, in steps of the file's output."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.facts import Agreement, IntegerTensor

_DECIMALS, _PERCENT_DECIMALS = 2, 4


class Differences:
    """Compares one output batch by batch; it holds sums only."""

    def __init__(self, tensor: IntegerTensor) -> None:
        """Compares with the integers of `tensor`."""
        self._tensor = tensor
        self._largest, self._squares, self._count = 0.0, 0.0, 0
        self._same, self._answers = 0, 0

    def add(self, reals: NDArray[Any], integers: NDArray[Any]) -> None:
        """Adds real values [n, ...] and the integers [n, ...] that stand for them."""
        steps = integers.astype(np.float64) - self._tensor.zero_point
        apart = reals.astype(np.float64) / self._tensor.scale - steps
        self._largest = max(self._largest, float(np.max(np.abs(apart), initial=0.0)))
        self._squares += float(np.square(apart).sum())
        self._count += apart.size

    def add_answers(self, ours: NDArray[Any] | None, theirs: NDArray[Any] | None) -> None:
        """Adds the answers of file and graph: classes, or None for outputs of real values."""
        if ours is not None and theirs is not None:
            self._same += int(np.count_nonzero(ours == theirs))
            self._answers += ours.size

    def agreement(self) -> Agreement:
        """Returns the figures. Further digits depend on the machine's order of summation."""
        same = round(100 * self._same / self._answers, _PERCENT_DECIMALS) if self._answers else None
        rmse = math.sqrt(self._squares / max(self._count, 1))
        return Agreement(same, round(self._largest, _DECIMALS), round(rmse, _DECIMALS))


def worst(agreements: list[Agreement]) -> Agreement:
    """Returns the worst of each figure."""
    same = [each.top1_percent for each in agreements if each.top1_percent is not None]
    return Agreement(
        min(same, default=None), max(each.max_lsb for each in agreements), max(each.rmse_lsb for each in agreements)
    )
