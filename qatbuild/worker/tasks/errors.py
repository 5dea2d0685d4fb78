"""Losses and metrics of real values: squared and absolute errors, and the coefficient of determination."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.errors import StageError

NOTHING = "no example was measured."


def loss(name: str, values: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns the loss `name` of two float32 tensors of one shape: mse, mae or huber, the mean over all elements.

    Huber's is quadratic up to an error of 1 and linear beyond it (Huber 1964, with delta = 1). StageError for another.
    """
    apart = values - targets
    if name == "mse":
        return tf.reduce_mean(tf.square(apart), name="mse")
    if name == "mae":
        return tf.reduce_mean(tf.abs(apart), name="mae")
    if name == "huber":
        return tf.reduce_mean(huber(apart), name="huber")
    raise StageError("The loss does not exist.", [("loss", name), ("there are", "mse, mae, huber")])


def huber(apart: tf.Tensor) -> tf.Tensor:
    """Returns Huber's loss of each element of `apart`, with delta = 1."""
    size = tf.abs(apart)
    quadratic = tf.minimum(size, 1.0)
    return 0.5 * tf.square(quadratic) + size - quadratic


class Errors:
    """Sums of errors over batches, in float64; the memory is that of one example, however many are added."""

    def __init__(self) -> None:
        """Begins without examples."""
        self._examples = self._elements = 0
        self._absolute = self._squared = 0.0
        self._mean: Any = 0.0
        self._variation: Any = 0.0
        self._residual: Any = 0.0
        self._least: Any = np.inf
        self._greatest: Any = -np.inf

    def add(self, values: NDArray[Any], targets: NDArray[Any]) -> None:
        """Adds a batch of real values and targets, both [n, elements]."""
        right = targets.astype(np.float64)
        apart = values.astype(np.float64) - right
        self._elements += apart.size
        self._absolute += float(np.abs(apart).sum())
        squares = np.square(apart).sum(axis=0)
        self._squared += float(squares.sum())
        self._residual += squares
        self._vary(right)

    def _vary(self, targets: NDArray[np.float64]) -> None:
        """Updates mean and sum of squared deviations of each element: Chan, Golub and LeVeque 1979."""
        if not len(targets):
            return
        total = self._examples + len(targets)
        mean = targets.mean(axis=0)
        apart = mean - self._mean
        self._variation += np.square(targets - mean).sum(axis=0) + apart**2 * self._examples * len(targets) / total
        self._mean += apart * len(targets) / total
        self._examples = total
        self._least = np.minimum(self._least, targets.min(axis=0))
        self._greatest = np.maximum(self._greatest, targets.max(axis=0))

    def mae(self) -> float | str:
        """Returns the mean absolute error over all elements."""
        return self._absolute / self._elements if self._elements else NOTHING

    def rmse(self) -> float | str:
        """Returns the root of the mean squared error over all elements."""
        return math.sqrt(self._squared / self._elements) if self._elements else NOTHING

    def r2(self) -> float | str:
        """Returns the coefficient of determination: its mean over the elements of an example whose targets vary."""
        varies = np.asarray(self._greatest > self._least)  # Not the variation: rounding makes it more than 0.
        if not varies.any():
            return "the targets are all equal, so that no part of their variance can be explained."
        return float(np.mean(1 - np.asarray(self._residual)[varies] / np.asarray(self._variation)[varies]))
