"""Elementwise operations of two tensors, with broadcasting. Jacob et al. 2018, appendix A.2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tflite import fixed_point
from qatbuild.worker.tflite.emulator.graph import EmulatedOperator
from qatbuild.worker.tflite.emulator.requantize import clamped, offsets, requantized

_LEFT_SHIFT = 20
"""Addends are shifted by 20 bits before they are rescaled, so that the rounding is far below 1 LSB of the output."""


def add(operator: EmulatedOperator, one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """ADD: both addends rescaled to twice the larger scale, added, rescaled to the output's."""
    return _sum(operator, one, other, 1)


def subtract(operator: EmulatedOperator, one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """SUB: as ADD."""
    return _sum(operator, one, other, -1)


def multiply(operator: EmulatedOperator, one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """MUL: Z3 + round(M (q1 - Z1) (q2 - Z2)), M = S1 S2 / S3 computed in float32."""
    first, second, output = operator.input(0), operator.input(1), operator.outputs[0]
    real = np.float64(first.scale * second.scale / output.scale)
    product = offsets(one, first) * offsets(other, second)
    return requantized(product, real, output, operator.options.fusedActivationFunction)


def maximum(operator: EmulatedOperator, one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """MAXIMUM, of quantized values with the same scale."""
    return np.maximum(one, other).astype(operator.outputs[0].dtype)


def minimum(operator: EmulatedOperator, one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """MINIMUM, of quantized values with the same scale."""
    return np.minimum(one, other).astype(operator.outputs[0].dtype)


def _sum(operator: EmulatedOperator, one: NDArray[Any], other: NDArray[Any], sign: int) -> NDArray[Any]:
    tensors, output = (operator.input(0), operator.input(1)), operator.outputs[0]
    double = np.float64(2 * max(tensor.scale for tensor in tensors))
    scaled = []
    for tensor, values in zip(tensors, (one, other), strict=True):
        multiplier, shift = fixed_point.quantized_multiplier(np.float64(tensor.scale) / double)
        scaled.append(fixed_point.multiply(offsets(values, tensor) << _LEFT_SHIFT, multiplier, shift))
    real = double / np.float64(np.float32(2**_LEFT_SHIFT) * output.scale)
    multiplier, shift = fixed_point.quantized_multiplier(real)
    total = fixed_point.multiply(scaled[0] + sign * scaled[1], multiplier, shift)
    return clamped(total, output, operator.options.fusedActivationFunction)
