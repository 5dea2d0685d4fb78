"""Ranges that several FakeQuants can share: their variables, and the operations that learn them in training.

Equations, with x the values of one step (for a shared range, of all its tensors) and t the number of steps so far:

    observed     m = min(min(x), 0),  M = max(max(x), 0, m + 2^-12)         0 must be representable (Jacob et al. 2018)
    symmetric    M = max(|m|, |M|, 2^-12),  m = -M
    last         min <- m
    average      biased <- biased + (m - biased) r,  min <- biased / (1 - (1 - r)^t),  r = 0.001

No range is empty: see SMALLEST_RANGE for the 2^-12. The variables are resource variables, so a value that was read
does not change when the same step assigns the next one. `insertion` needs that: some FakeQuants of a shared range use
the range of the step before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from qatbuild.quantize.graph.fake_quant import SMALLEST_RANGE
from qatbuild.quantize.integer.pooled import never_negative

v1 = tf.compat.v1

RATE = 0.001


@dataclass(frozen=True)
class RangeTensors:
    """The minimum and maximum of a range as tensors: float32 scalars, or [channels]."""

    min: tf.Tensor
    max: tf.Tensor


def observe(
    tensors: Sequence[tf.Tensor], *, symmetric: bool = False, quantized_dimension: int | None = None
) -> RangeTensors:
    """Returns the range of this step's values, with 0 and not empty.

    With a `quantized_dimension` every index along this axis and the axes behind it, flattened, has its own range.
    """
    axes = None if quantized_dimension is None else list(range(quantized_dimension))
    least = [_least(each, axes) for each in tensors]
    greatest = [_flat(tf.reduce_max(tf.stop_gradient(each), axes, name="BatchMax"), axes) for each in tensors]
    range_min = tf.minimum(least[0] if len(least) == 1 else tf.reduce_min(tf.stack(least), 0), 0.0, name="Minimum")
    range_max = tf.maximum(
        greatest[0] if len(greatest) == 1 else tf.reduce_max(tf.stack(greatest), 0), 0.0, name="Maximum"
    )
    if symmetric:
        range_max = tf.maximum(tf.maximum(range_max, -range_min), SMALLEST_RANGE)
        return RangeTensors(-range_max, range_max)
    return RangeTensors(range_min, tf.maximum(range_max, range_min + SMALLEST_RANGE))


def settled(low: Any, high: Any, *, symmetric: bool = False) -> tuple[Any, Any]:
    """Returns a measured range (NumPy scalars or [channels]) as `observe` would: widened to contain 0 and not empty."""
    low, high = np.minimum(np.float32(low), 0), np.maximum(np.float32(high), 0)
    if symmetric:
        high = np.maximum(np.maximum(high, -low), np.float32(SMALLEST_RANGE))
        return -high, high
    return low, np.maximum(high, low + np.float32(SMALLEST_RANGE))


class LearntRange:
    """The variables of one range, in the name scope `prefix`: scalars, or one value for each of `channels`."""

    def __init__(self, prefix: str, channels: int | None) -> None:
        """Makes the variables. Their initial values are not used: training replaces them, inference restores them."""
        self._prefix, self._shape = prefix, [] if channels is None else [channels]
        self._min, self._max = self._variable("min", -6.0), self._variable("max", 6.0)

    def read(self) -> RangeTensors:
        """Returns the values of the variables: for inference, and in training those of the step before."""
        with v1.name_scope(f"{self._prefix}/"):
            return RangeTensors(self._min.read_value(), self._max.read_value())

    def learn(
        self, observed: RangeTensors, learns: Literal["last", "average"], after: Sequence[tf.Tensor] = ()
    ) -> RangeTensors:
        """Returns the range updated with this step's; it is assigned after the operations of `after` have run."""
        with v1.name_scope(f"{self._prefix}/"):
            new, assigned = (observed, []) if learns == "last" else self._average(observed)
            with tf.control_dependencies([tensor.op for tensor in after]):
                assigned += [self._min.assign(new.min, read_value=False), self._max.assign(new.max, read_value=False)]
            with tf.control_dependencies(assigned):
                return RangeTensors(tf.identity(new.min, name="LearntMin"), tf.identity(new.max, name="LearntMax"))

    def _average(self, observed: RangeTensors) -> tuple[RangeTensors, list[tf.Operation]]:
        """Returns the moving average of the range, and the assignments of its auxiliary variables."""
        step = self._variable("local_step", 0.0, hidden=True)
        counted = step.read_value() + 1.0
        share = 1.0 - tf.pow(1.0 - RATE, counted)
        assigned = [step.assign(counted, read_value=False)]
        averages = []
        for name, value in (("min", observed.min), ("max", observed.max)):
            biased = self._variable(f"{name}/biased", 0.0, hidden=True)
            before = biased.read_value()
            moved = before + (value - before) * RATE
            assigned.append(biased.assign(moved, read_value=False))
            averages.append(moved / share)
        return RangeTensors(*averages), assigned

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
    # Ranges get no gradient.
    return _flat(tf.reduce_min(tf.stop_gradient(tensor), axes, name="BatchMin"), axes)


def _flat(tensor: tf.Tensor, axes: list[int] | None) -> tf.Tensor:
    return tensor if axes is None else tf.reshape(tensor, [-1])
