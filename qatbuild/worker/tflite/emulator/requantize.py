"""From accumulators back to 8 bits: what the kernels have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import ArrayLike, NDArray

from qatbuild.worker.tflite import fixed_point
from qatbuild.worker.tflite.emulator.graph import Tensor

_ENDS = {
    schema.ActivationFunctionType.NONE: (-np.inf, np.inf),
    schema.ActivationFunctionType.RELU: (0.0, np.inf),
    schema.ActivationFunctionType.RELU6: (0.0, 6.0),
    schema.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
}


def offsets(codes: NDArray[Any], tensor: Tensor) -> NDArray[np.int64]:
    """The steps q - Z of a tensor with one zero point."""
    return codes.astype(np.int64) - tensor.zero_point


def requantized(accumulators: NDArray[np.int64], real: ArrayLike, output: Tensor, activation: int) -> NDArray[Any]:
    """The codes clamp(Z + round(M a)): Jacob et al. 2018, eq. 4 with section 2.4's fused activation as the clamp.

    `accumulators`: the int32 values; `real`: M = S1 S2 / S3, a scalar or one per channel (the last axis).
    """
    multiplier, shift = fixed_point.quantized_multiplier(real)
    return clamped(fixed_point.multiply(fixed_point.as_int32(accumulators), multiplier, shift), output, activation)


def clamped(steps: NDArray[np.int64], output: Tensor, activation: int = 0) -> NDArray[Any]:
    """The codes Z + steps within the type's range and the activation's."""
    low, high = activation_limits(output, activation)
    return np.clip(steps + output.zero_point, low, high).astype(output.dtype)


def activation_limits(output: Tensor, activation: int) -> tuple[int, int]:
    """The codes between which an activation lets values pass: Z + round(end / S), halves away from zero."""
    low, high = output.limits
    least, greatest = _ENDS[activation]
    return max(low, _code(least, output)), min(high, _code(greatest, output))


def _code(real: float, output: Tensor) -> Any:
    if np.isinf(real):
        return real
    steps = np.float32(real) / output.scale
    return output.zero_point + int(np.copysign(np.floor(np.abs(steps) + np.float32(0.5)), steps))
