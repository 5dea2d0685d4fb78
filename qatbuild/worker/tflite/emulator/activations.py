"""Functions of one tensor: softmax in fixed point, sigmoid and tanh by a table of 256 values, ReLUs by multipliers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qatbuild.worker.tflite import fixed_point
from qatbuild.worker.tflite.emulator.graph import EmulatedOperator
from qatbuild.worker.tflite.emulator.requantize import activation_limits, clamped, offsets

_SCALED_BITS = 5
_SUM_BITS = 12
_OUTPUT_BITS = 8


def softmax(operator: EmulatedOperator, logits: NDArray[Any]) -> NDArray[Any]:
    """SOFTMAX over the last axis: exp(S beta (q - max q)) in fixed point, times the reciprocal of the sum.

    Jacob et al. 2018, appendix A.1. Logits whose rescaled difference to the largest does not fit are 0.
    """
    source, output = operator.input(0), operator.outputs[0]
    factor = np.float64(operator.options.beta) * np.float64(source.scale) * 2 ** (31 - _SCALED_BITS)
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
    rounded = fixed_point.rounding_divide_by_pot(quotients, bits + 31 - _OUTPUT_BITS)
    smallest, largest = output.limits
    return np.clip(np.where(counted, rounded, 0) + smallest, smallest, largest).astype(output.dtype)


def logistic(operator: EmulatedOperator, values: NDArray[Any]) -> NDArray[Any]:
    """LOGISTIC: 1 / (1 + exp(-r)), by a table of 256 values."""
    return _by_table(operator, values, lambda real: 1 / (1 + np.exp(-real)))


def tanh(operator: EmulatedOperator, values: NDArray[Any]) -> NDArray[Any]:
    """TANH, by a table of 256 values."""
    return _by_table(operator, values, np.tanh)


def relu(operator: EmulatedOperator, values: NDArray[Any]) -> NDArray[Any]:
    """RELU, RELU6, RELU_N1_TO_1: rescale and clamp."""
    source, output = operator.input(0), operator.outputs[0]
    activation = getattr(schema.ActivationFunctionType, operator.name)
    multiplier, shift = fixed_point.quantized_multiplier(np.float64(source.scale / output.scale))
    return clamped(fixed_point.multiply(offsets(values, source), multiplier, shift), output, activation)


def leaky_relu(operator: EmulatedOperator, values: NDArray[Any]) -> NDArray[Any]:
    """LEAKY_RELU: one multiplier for positive values, one with alpha for negative ones."""
    source, output = operator.input(0), operator.outputs[0]
    steps = offsets(values, source)
    reals = (source.scale / output.scale, source.scale * np.float32(operator.options.alpha) / output.scale)
    positive, negative = (
        fixed_point.multiply(steps, *fixed_point.quantized_multiplier(np.float64(real))) for real in reals
    )
    return clamped(np.where(steps >= 0, positive, negative), output)


def prelu(operator: EmulatedOperator, values: NDArray[Any], slopes: NDArray[Any]) -> NDArray[Any]:
    """PRELU: one multiplier for positive values, one for the products of negative ones and their slopes."""
    source, slope, output = operator.input(0), operator.input(1), operator.outputs[0]
    steps = offsets(values, source)
    positive, negative = (
        fixed_point.multiply(factors, *fixed_point.quantized_multiplier(np.float64(real)))
        for factors, real in (
            (steps, source.scale / output.scale),
            (steps * offsets(slopes, slope), source.scale * slope.scale / output.scale),
        )
    )
    return clamped(np.where(steps >= 0, positive, negative), output)


def _by_table(operator: EmulatedOperator, values: NDArray[Any], function: Callable[[Any], Any]) -> NDArray[Any]:
    """Returns round(f(S (q - Z)) / S3) + Z3 for every q, in float32 as LiteRT fills its tables."""
    source, output = operator.input(0), operator.outputs[0]
    smallest, largest = source.limits
    every = np.arange(smallest, largest + 1)
    real = source.scale * (every - source.zero_point).astype(np.float32)
    results = np.float32(function(real.astype(np.float64))) * (np.float32(1) / output.scale)
    rounded = np.copysign(np.floor(np.abs(results) + np.float32(0.5)), results) + output.zero_point
    table = np.clip(rounded, *activation_limits(output, 0)).astype(output.dtype)
    return table[values.astype(np.int64) - smallest]
