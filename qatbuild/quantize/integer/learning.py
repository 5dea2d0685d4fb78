"""Ranges that several FakeQuants can share: their variables, and how they follow the data in training.

Equations, with x the tensor of one step (of a range that is shared, all its tensors) and t the steps so far:

    observed     m = min(min(x), 0),  M = max(max(x), 0, m + 2^-12)         0 must be representable (Jacob et al. 2018)
    symmetric    M = max(|m|, |M|, 2^-12),  m = -M
    last         min <- m
    average      biased <- biased + (m - biased) r,  min <- biased / (1 - (1 - r)^t),  r = 0.001

No range is ever empty: a layer whose weights or outputs are all 0 would have the scale 0, which the converter replaces
by another than the graph's; 2^-12 is small beside any layer that does something, and large enough that the scale of the
layer's bias (the product of two) still holds the bias.

The variables are resources: what one reads stays as it was read, also while the step assigns the next value. A shared
range may stand on a tensor and on another one computed from it; there the former reads the range of the step before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from qatbuild.quantize.integer.pooled import never_negative

v1 = tf.compat.v1

RATE = 0.001
SMALLEST_RANGE = 2.0**-12


@dataclass(frozen=True)
class Ends:
    """The two ends of a range: float32 scalars, or [channels]."""

    low: tf.Tensor
    high: tf.Tensor


def observe(tensors: Sequence[tf.Tensor], *, symmetric: bool = False, channel_axis: int | None = None) -> Ends:
    """The range that this step's values call for.

    With a `channel_axis` each index along that axis and those behind it, flattened, has a range of its own.
    """
    axes = None if channel_axis is None else list(range(channel_axis))
    lows = [_least(each, axes) for each in tensors]
    highs = [_flat(tf.reduce_max(tf.stop_gradient(each), axes, name="BatchMax"), axes) for each in tensors]
    low = tf.minimum(lows[0] if len(lows) == 1 else tf.reduce_min(tf.stack(lows), 0), 0.0, name="Minimum")
    high = tf.maximum(highs[0] if len(highs) == 1 else tf.reduce_max(tf.stack(highs), 0), 0.0, name="Maximum")
    if symmetric:
        high = tf.maximum(tf.maximum(high, -low), SMALLEST_RANGE)
        return Ends(-high, high)
    return Ends(low, tf.maximum(high, low + SMALLEST_RANGE))


def settled(low: Any, high: Any, *, symmetric: bool = False) -> tuple[Any, Any]:
    """A range that was measured (NumPy, scalars or [channels]), as `observe` would have it: with 0, and not empty."""
    low, high = np.minimum(np.float32(low), 0), np.maximum(np.float32(high), 0)
    if symmetric:
        high = np.maximum(np.maximum(high, -low), np.float32(SMALLEST_RANGE))
        return -high, high
    return low, np.maximum(high, low + np.float32(SMALLEST_RANGE))


class LearntRange:
    """The variables of one range, below the name scope `prefix`; `channels` None for one range for the whole tensor."""

    def __init__(self, prefix: str, channels: int | None) -> None:
        """Make the variables; their initial values are never used in training, and restored for inference."""
        self._prefix, self._shape = prefix, [] if channels is None else [channels]
        self._low, self._high = self._variable("min", -6.0), self._variable("max", 6.0)

    def read(self) -> Ends:
        """The ends as the variables have them: for inference, and in training those of the step before."""
        with v1.name_scope(f"{self._prefix}/"):
            return Ends(self._low.read_value(), self._high.read_value())

    def learn(self, observed: Ends, learns: Literal["last", "average"], after: Sequence[tf.Tensor] = ()) -> Ends:
        """The ends with this step's values in them; they are assigned after the operations of `after` have read."""
        with v1.name_scope(f"{self._prefix}/"):
            new, assigned = (observed, []) if learns == "last" else self._average(observed)
            with tf.control_dependencies([tensor.op for tensor in after]):
                assigned += [self._low.assign(new.low, read_value=False), self._high.assign(new.high, read_value=False)]
            with tf.control_dependencies(assigned):
                return Ends(tf.identity(new.low, name="LearntMin"), tf.identity(new.high, name="LearntMax"))

    def _average(self, observed: Ends) -> tuple[Ends, list[tf.Operation]]:
        step = self._variable("local_step", 0.0, hidden=True)
        counted = step.read_value() + 1.0
        share = 1.0 - tf.pow(1.0 - RATE, counted)
        assigned = [step.assign(counted, read_value=False)]
        averages = []
        for name, value in (("min", observed.low), ("max", observed.high)):
            biased = self._variable(f"{name}/biased", 0.0, hidden=True)
            before = biased.read_value()
            moved = before + (value - before) * RATE
            assigned.append(biased.assign(moved, read_value=False))
            averages.append(moved / share)
        return Ends(*averages), assigned

    def _variable(self, name: str, value: float, *, hidden: bool = False) -> tf.Variable:
        keys = v1.GraphKeys
        with v1.name_scope(None):
            return v1.Variable(
                np.full(self._shape, value, np.float32),
                trainable=False,
                collections=[keys.GLOBAL_VARIABLES, *([] if hidden else [keys.MODEL_VARIABLES])],
                use_resource=True,
                name=f"{self._prefix}/{name}",
                dtype=tf.float32,
            )


def _least(tensor: tf.Tensor, axes: list[int] | None) -> tf.Tensor:
    if axes is None and never_negative(tensor):
        return tf.constant(0.0, name="BatchMin")
    # A range is measured, not trained.
    return _flat(tf.reduce_min(tf.stop_gradient(tensor), axes, name="BatchMin"), axes)


def _flat(tensor: tf.Tensor, axes: list[int] | None) -> tf.Tensor:
    return tensor if axes is None else tf.reshape(tensor, [-1])
