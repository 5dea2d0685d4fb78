"""Pools and reductions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tflite import fixed_point
from qatbuild.worker.tflite.emulator.graph import EmulatedOperator
from qatbuild.worker.tflite.emulator.requantize import activation_limits, clamped
from qatbuild.worker.tflite.emulator.windows import windows


def max_pool(operator: EmulatedOperator, images: NDArray[Any]) -> NDArray[Any]:
    """MAX_POOL_2D: the largest value of each window, without padding; input and output have the same scale."""
    output, options = operator.outputs[0], operator.options
    seen = windows(images, (options.filterHeight, options.filterWidth), options, output.limits[0])
    smallest, largest = activation_limits(output, options.fusedActivationFunction)
    return np.clip(seen.max(axis=(3, 4)).astype(np.int64), smallest, largest).astype(output.dtype)


def average_pool(operator: EmulatedOperator, images: NDArray[Any]) -> NDArray[Any]:
    """AVERAGE_POOL_2D: the mean of each window without padding, halves away from zero, at the input's scale."""
    output, options = operator.outputs[0], operator.options
    window = (options.filterHeight, options.filterWidth)
    sums = windows(images.astype(np.int64), window, options, 0).sum(axis=(3, 4))
    counts = windows(np.ones((1, *images.shape[1:3], 1), np.int64), window, options, 0).sum(axis=(3, 4))
    halves = np.where(sums >= 0, counts // 2, -(counts // 2))
    means = np.trunc((sums + halves) / counts).astype(np.int64)
    smallest, largest = activation_limits(output, options.fusedActivationFunction)
    return np.clip(means, smallest, largest).astype(output.dtype)


def mean(operator: EmulatedOperator, values: NDArray[Any], axes: NDArray[Any]) -> NDArray[Any]:
    """MEAN: Z3 + round((sum(q1) - n Z1) M) with M = S1 / (n S3).

    The division by n is part of M0: M0 2^k / n, truncated, with 2^k the largest power of two that is not above n.
    """
    source, output = operator.input(0), operator.outputs[0]
    over = tuple(sorted({int(axis) % values.ndim for axis in np.ravel(axes)}))
    count = int(np.prod([values.shape[axis] for axis in over], dtype=np.int64))
    sums = values.astype(np.int64).sum(axis=over, keepdims=operator.options.keepDims) - count * source.zero_point
    multiplier, shift = fixed_point.quantized_multiplier(np.float64(source.scale) / np.float64(output.scale))
    power = min(count.bit_length() - 1, 32, 31 + int(shift))
    multiplier = (multiplier << power) // count
    return clamped(fixed_point.multiply(sums, multiplier, shift - power), output)
