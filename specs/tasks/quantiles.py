"""A loss and two metrics for a forecast of three quantiles: most likely values of a quantity, and how sure they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

SHARES = (0.1, 0.5, 0.9)
"""The parts of all cases that are to lie below the three values."""


def loss(predictions: Any, targets: Any) -> Any:
    """Return the pinball loss of predictions [n, 3] of a target [n, 1]: least at the true quantiles.

    Koenker and Bassett, Regression Quantiles, Econometrica 1978.
    """
    above = targets - predictions
    return tf.reduce_mean(tf.maximum(above * SHARES, above * (np.array(SHARES) - 1)))


def pinball(predictions: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """Return the same of arrays, in the target's unit."""
    above = targets - predictions
    return float(np.mean(np.maximum(above * SHARES, above * (np.array(SHARES) - 1))))


def coverage(predictions: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    """Return the part of the targets, 0..1, between the first and the last quantile: 0.8 is right."""
    inside = (predictions[:, :1] <= targets) & (targets <= predictions[:, -1:])
    return float(np.mean(inside))
