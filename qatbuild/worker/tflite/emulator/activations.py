"""Functions of one tensor: softmax in fixed point, the others by 256 codes or by two multipliers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qatbuild.worker.tflite import fixed_point
from qatbuild.worker.tflite.emulator.graph import Operator
from qatbuild.worker.tflite.emulator.requantize import activation_limits, clamped, offsets

_SCALED_BITS = 5
_SUM_BITS = 12
_CODE_BITS = 8


def softmax(operator: Operator, logits: NDArray[Any]) -> NDArray[Any]:
    """SOFTMAX over the last axis: exp(S beta (q - max q)) in fixed point, times the reciprocal of the sum.

    Jacob et al. 2018, appendix A.1. Logits so far below the largest that the rescaled difference has no room are 0.
    """
    given, output = operator.given(0), operator.outputs[0]
    factor = np.float64(operator.options.beta) * np.float64(given.scale) * 2 ** (31 - _SCALED_BITS)
    multiplier, shift = fixed_point.quantized_multiplier(min(factor, 2.0**31 - 1))
    radius = int(np.floor((2**_SCALED_BITS - 1) * 2.0 ** (31 - _SCALED_BITS) / 2.0 ** int(shift)))
    below = logits.astype(np.int64) - logits.max(axis=-1, keepdims=True).astype(np.int64)
    counted = below >= -radius
    exponentials = fixed_point.exp_on_negative_values(
        fixed_point.multiply(np.where(counted, below, 0), multiplier, shift)
    )
    addends = np.where(counted, fixed_point.rounding_divide_by_pot(exponentials, _SUM_BITS), 0)
    scale, bits = fixed_point.reciprocal(addends.sum(axis=-1, keepdims=True), _SUM_BITS)
    quotients = fixed_point.high_mul(scale, exponentials)
    rounded = fixed_point.rounding_divide_by_pot(quotients, bits + 31 - _CODE_BITS)
    low, high = output.limits
    return np.clip(np.where(counted, rounded, 0) + low, low, high).astype(output.dtype)


def logistic(operator: Operator, values: NDArray[Any]) -> NDArray[Any]:
    """LOGISTIC: 1 / (1 + exp(-r)), a table of 256 codes."""
    return _by_table(operator, values, lambda real: 1 / (1 + np.exp(-real)))


def tanh(operator: Operator, values: NDArray[Any]) -> NDArray[Any]:
    """TANH, a table of 256 codes."""
    return _by_table(operator, values, np.tanh)


def relu(operator: Operator, values: NDArray[Any]) -> NDArray[Any]:
    """RELU, RELU6, RELU_N1_TO_1: rescaled and clamped."""
    given, output = operator.given(0), operator.outputs[0]
    activation = getattr(schema.ActivationFunctionType, operator.name)
    multiplier, shift = fixed_point.quantized_multiplier(np.float64(given.scale / output.scale))
    return clamped(fixed_point.multiply(offsets(values, given), multiplier, shift), output, activation)


def leaky_relu(operator: Operator, values: NDArray[Any]) -> NDArray[Any]:
    """LEAKY_RELU: one multiplier for positive values, one with alpha for negative ones."""
    given, output = operator.given(0), operator.outputs[0]
    steps = offsets(values, given)
    reals = (given.scale / output.scale, given.scale * np.float32(operator.options.alpha) / output.scale)
    positive, negative = (
        fixed_point.multiply(steps, *fixed_point.quantized_multiplier(np.float64(real))) for real in reals
    )
    return clamped(np.where(steps >= 0, positive, negative), output)


def _by_table(operator: Operator, values: NDArray[Any], function: Callable[[Any], Any]) -> NDArray[Any]:
    """round(f(S (q - Z)) / S3) + Z3 of each code, in float32 as LiteRT fills its tables."""
    given, output = operator.given(0), operator.outputs[0]
    low, high = given.limits
    every = np.arange(low, high + 1)
    real = given.scale * (every - given.zero_point).astype(np.float32)
    results = np.float32(function(real.astype(np.float64))) * (np.float32(1) / output.scale)
    rounded = np.copysign(np.floor(np.abs(results) + np.float32(0.5)), results) + output.zero_point
    table = np.clip(rounded, *activation_limits(output, 0)).astype(output.dtype)
    return table[values.astype(np.int64) - low]
