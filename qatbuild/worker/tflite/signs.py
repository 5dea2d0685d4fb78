"""Signs of why a layer loses accuracy: how its values and weights lie in their quantization grids.

A .tflite's tensor has the grid  real = S (q - Z),  q of 8 bits. What the grid wastes or cuts off is measured on the
values that the layer has in float, with the .tflite's own inputs, and on the weights as the file holds them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.layer_signs import LayerSigns
from qatbuild.worker.tflite import inspect

CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
"""Operator -> the axis of its weights with an output channel at each index."""

LEVELS = 256
_TAIL = 0.0005
"""Share of the values at either end that is left out of the bulk."""

_ALL_PERCENT = 100.0
_DIGITS = 5
_FEWEST_CHANNELS = 2


class Grid(NamedTuple):
    """The least and the greatest real value of a tensor's 8 bits, and the step between two values."""

    least: float
    greatest: float
    step: float

    @classmethod
    def of(cls, tensor: inspect.Tensor) -> Grid:
        """The grid of a tensor with one scale."""
        first = -LEVELS // 2 if tensor.dtype == "int8" else 0
        step, zero = tensor.scales[0], tensor.zero_points[0]
        return cls(step * (first - zero), step * (first + LEVELS - 1 - zero), step)


class Ends:
    """The least and the greatest of values over batches."""

    def __init__(self) -> None:
        """Begins without values."""
        self._least, self._greatest = np.inf, -np.inf

    def add(self, values: NDArray[Any]) -> None:
        """Takes values of any shape in."""
        self._least = min(self._least, float(values.min()))
        self._greatest = max(self._greatest, float(values.max()))

    @property
    def rounded(self) -> tuple[float, float] | None:
        """The ends with 5 significant digits; None without values."""
        return None if self._least > self._greatest else (rounded(self._least), rounded(self._greatest))


class Spread:
    """The spread of a layer's real values over batches, beside the grid that they are rounded to."""

    def __init__(self, grid: Grid) -> None:
        """Makes the spread of no values."""
        self._grid = grid
        self._ends = Ends()
        self._clipped = self._total = 0
        self._signal = self._lost = 0.0
        self._widest = np.zeros(0)

    def add(self, values: NDArray[Any]) -> None:
        """Takes values in: real [examples, ..., channels]."""
        least, greatest, half = self._grid.least, self._grid.greatest, self._grid.step / 2
        self._ends.add(values)
        beyond = (values < least - half) | (values > greatest + half)
        self._clipped += int(np.count_nonzero(beyond))
        excess = values[beyond] - np.clip(values[beyond], least, greatest)
        self._signal += float(np.square(values, dtype=np.float64).sum())
        self._lost += float(np.square(excess, dtype=np.float64).sum())
        self._total += values.size
        widest = np.abs(values).max(axis=tuple(range(values.ndim - 1)))
        self._widest = widest if not self._widest.size else np.maximum(self._widest, widest)

    def signs(self) -> LayerSigns:
        """Returns the signs that the values show, with all quantized values as the bulk."""
        signs = LayerSigns((rounded(self._grid.least), rounded(self._grid.greatest)), _ALL_PERCENT)
        if not self._total:
            return signs
        return signs._replace(
            values=self._ends.rounded,
            clipped_percent=rounded(100 * self._clipped / self._total),
            channel_percent=_median_percent(self._widest[self._widest > 0]),
            clipped_db=round(10 * math.log10(self._signal / self._lost), 1) if self._lost else None,
        )


def bulk_percent(counts: NDArray[np.int64]) -> float:
    """Returns how many percent of the 256 quantized values hold the bulk: all but 0.05 % of the values at each end.

    `counts` [256]: how often each quantized value occurred, from the smallest on.
    """
    passed = np.cumsum(counts) / counts.sum()
    first, last = np.searchsorted(passed, [_TAIL, 1 - _TAIL], side="right")
    return round(100 * (int(min(last, LEVELS - 1)) - int(first) + 1) / LEVELS, 2)


def weight_channel_percents(model: inspect.Flatbuffer) -> dict[int, float | None]:
    """Returns for each layer with weights, by the index of its output, how far its median channel's weights reach.

    In percent of the channel that reaches furthest from the zero point, in quantized values: about 100 with a scale for
    each channel. None for a layer of one channel.
    """
    percents: dict[int, float | None] = {}
    for operator in model.operators:
        axis = CHANNEL_AXIS.get(operator.name)
        distances = None if axis is None else _distances(model, operator.inputs[1])
        if axis is not None and distances is not None:
            widest = np.moveaxis(distances, axis, -1).reshape(-1, distances.shape[axis])
            percents[operator.outputs[0]] = _median_percent(widest.max(axis=0))
    return percents


def _distances(model: inspect.Flatbuffer, index: int) -> NDArray[np.int32] | None:
    """Returns the distances of constant 8-bit weights from their zero point; None for any others."""
    codes, zero_points = model.codes(index), model.tensors[index].zero_points
    return np.abs(codes.astype(np.int32) - np.int32(zero_points[0])) if codes is not None and zero_points else None


def _median_percent(widest: NDArray[Any]) -> float | None:
    if widest.size < _FEWEST_CHANNELS or not widest.max():
        return None
    median = np.quantile(widest, 0.5, method="lower")  # Of two channels the smaller one, not what lies between.
    return rounded(100 * float(median / widest.max()))


def rounded(value: float) -> float:
    """Returns a figure with 5 significant digits, which is equal on every machine."""
    return float(f"{value:.{_DIGITS}g}")
