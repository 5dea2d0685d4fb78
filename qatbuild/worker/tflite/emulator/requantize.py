"""Requantization: from int32 accumulators back to 8 bits, shared by the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import ArrayLike, NDArray

from qatbuild.worker.tflite import fixed_point
from qatbuild.worker.tflite.emulator.graph import EmulatedTensor

_ACTIVATION_RANGES = {
    schema.ActivationFunctionType.NONE: (-np.inf, np.inf),
    schema.ActivationFunctionType.RELU: (0.0, np.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}


def offsets(quantized: NDArray[Any], tensor: EmulatedTensor) -> NDArray[np.int64]:
    """Returns q - Z, for a tensor with one zero point."""
    return quantized.astype(np.int64) - tensor.zero_point


def requantized(
    accumulators: NDArray[np.int64], real: ArrayLike, output: EmulatedTensor, activation: int
) -> NDArray[Any]:
    """Returns clamp(Z + round(M a)): Jacob et al. 2018, eq. 4 with section 2.4's fused activation as the clamp.

    `accumulators`: the int32 values; `real`: M = S1 S2 / S3, a scalar or one per channel (the last axis).
    """
    multiplier, shift = fixed_point.quantized_multiplier(real)
    return clamped(fixed_point.multiply(fixed_point.as_int32(accumulators), multiplier, shift), output, activation)


def clamped(steps: NDArray[np.int64], output: EmulatedTensor, activation: int = 0) -> NDArray[Any]:
    """Returns Z + steps, clamped to the ranges of the type and of the activation."""
    smallest, largest = activation_limits(output, activation)
    return np.clip(steps + output.zero_point, smallest, largest).astype(output.dtype)


def activation_limits(output: EmulatedTensor, activation: int) -> tuple[int, int]:
    """Returns the smallest and largest quantized value of an activation: Z + round(end / S), halves away from zero."""
    smallest, largest = output.limits
    real_min, real_max = _ACTIVATION_RANGES[activation]
    return max(smallest, _quantized(real_min, output)), min(largest, _quantized(real_max, output))


def _quantized(real: float, output: EmulatedTensor) -> Any:
    if np.isinf(real):
        return real
    steps = np.float32(real) / output.scale
    return output.zero_point + int(np.copysign(np.floor(np.abs(steps) + np.float32(0.5)), steps))
