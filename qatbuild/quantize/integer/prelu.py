"""PReLU, recognised by structure: relu(x) - slope relu(-x), and its other spellings.

The runtime computes it in one step: two multipliers, one for positive values, one with the slope for negative ones. The
converter knows one spelling, relu(x) + (-slope) relu(-x), with slopes that have no FakeQuant: it quantizes them itself,
like weights.

    uint8   q = round(slope / S) + Z,  S = (max - min) / 254,  Z = 1 - min / S rounded        0 is in the range
    int8    q = round(slope / S),      S = max |slope| / 127
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.quantize.graph.fake_quant import SMALLEST_RANGE

_STEPS = 254.0
"""Steps of a range of 8 bits without its least value."""
_ADDS = frozenset({"Add", "AddV2"})


@dataclass(frozen=True)
class PRelu:
    """A PReLU: its input, its slopes for negative values, float32 [.., channels], and all its operations."""

    x: tf.Tensor
    slope: tf.Tensor
    operations: frozenset[tf.Operation]


def prelu_of(operation: tf.Operation) -> PRelu | None:
    """Returns the PReLU whose result is the operation's output, else None."""
    if operation.type in _ADDS:
        pairs = list(_both_orders(operation))
    elif operation.type == "Sub":
        pairs = [tuple(operation.inputs)]
    else:
        return None
    for positive, scaled in pairs:
        x = _rectified(positive)
        if x is None or scaled.op.type != "Mul":
            continue
        for slope, below in _both_orders(scaled.op):
            parts = _negative(below, x)
            negate = operation.type == "Sub"
            if parts is None or not _is_constant_shape(slope, x):
                continue
            inner = {operation, positive.op, scaled.op, below.op, *parts.operations}
            if parts.mirrored and not negate and slope.op.type == "Neg":
                return PRelu(x, slope.op.inputs[0], frozenset({*inner, slope.op}))
            if parts.mirrored == negate:
                return PRelu(x, slope, frozenset(inner))
    return None


def spelled(prelu: PRelu) -> tf.Tensor:
    """Returns a PReLU in the converter's spelling, float32 of the same shape."""
    rank = prelu.x.shape.rank - 1
    shape = [1] * rank + prelu.slope.shape.as_list()
    slope = tf.reshape(prelu.slope, shape[len(shape) - rank :])
    below = tf.multiply(tf.negative(slope), tf.nn.relu(tf.negative(prelu.x)))
    return tf.add(tf.nn.relu(prelu.x), below)


def is_spelled(prelu: PRelu) -> bool:
    """Returns whether a PReLU is in the converter's spelling."""
    types = sorted(each.type.removesuffix("V2") for each in prelu.operations)
    as_many = prelu.slope.shape.rank == prelu.x.shape.rank - 1
    return as_many and types == ["Add", "Mul", "Neg", "Neg", "Relu", "Relu"]


def rounded_slope(slope: tf.Tensor, scheme: str, *, training: bool) -> tf.Tensor:
    """Returns slopes as the converter rounds them; in training their gradient passes straight through."""
    fixed = tf.stop_gradient(slope)
    least, greatest = tf.minimum(tf.reduce_min(fixed), 0.0), tf.maximum(tf.reduce_max(fixed), 0.0)
    if scheme != "uint8":
        greatest = tf.maximum(greatest, -least)
        least = -greatest
    step = tf.maximum(greatest - least, SMALLEST_RANGE) / _STEPS
    near = tf.multiply(tf.round(fixed / step), step, name="rounded")
    return slope + tf.stop_gradient(near - slope) if training else near


@dataclass(frozen=True)
class _Negative:
    """min(x, 0), or relu(-x) if `mirrored`."""

    mirrored: bool
    operations: tuple[tf.Operation, ...]


def _rectified(tensor: tf.Tensor) -> tf.Tensor | None:
    """Returns the tensor x if `tensor` is max(x, 0), else None."""
    if tensor.op.type == "Relu":
        return tensor.op.inputs[0]
    return _beside(tensor.op, "Maximum", 0.0)


def _negative(tensor: tf.Tensor, x: tf.Tensor) -> _Negative | None:
    if _beside(tensor.op, "Minimum", 0.0) is x:
        return _Negative(mirrored=False, operations=())
    inner = _rectified(tensor)
    if inner is None:
        return None
    if (inner.op.type == "Neg" and inner.op.inputs[0] is x) or _beside(inner.op, "Mul", -1.0) is x:
        return _Negative(mirrored=True, operations=(inner.op,))
    return None


def _beside(operation: tf.Operation, kind: str, number: float) -> tf.Tensor | None:
    """Returns the other operand of an operation of the type `kind` with a constant `number`, else None."""
    if operation.type != kind:
        return None
    return next((value for value, constant in _both_orders(operation) if _is(constant, number)), None)


def _is(tensor: tf.Tensor, number: float) -> bool:
    return tensor.op.type == "Const" and tensor.shape.num_elements() == 1 and tf.get_static_value(tensor) == number


def _is_constant_shape(slope: tf.Tensor, x: tf.Tensor) -> bool:
    """Returns whether the slopes have a size of their own, for one image: one for all, for a channel or for a value."""
    inner = x.shape[1:]
    return (
        slope.shape.is_fully_defined()
        and inner.is_fully_defined()
        and slope.shape.num_elements() <= (inner.num_elements())
    )


def _both_orders(operation: tf.Operation) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    first, second = operation.inputs
    yield first, second
    yield second, first
