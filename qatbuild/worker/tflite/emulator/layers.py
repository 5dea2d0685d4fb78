"""Layers with weights: convolution, depthwise, transposed, fully connected. Jacob et al. 2018, sections 2.2 to 2.4.

    q3 = Z3 + M sum((q1 - Z1) (q2 - Z2) + bias)        eq. 4, 5 and 11

Products of 8-bit values are summed in float64: exact below 2^53 in any order, and as fast as the machine's BLAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qatbuild.worker.tflite.emulator.graph import EmulatedOperator, EmulatedTensor
from qatbuild.worker.tflite.emulator.requantize import clamped, requantized
from qatbuild.worker.tflite.emulator.windows import before, windows


def conv(operator: EmulatedOperator, images: NDArray[Any], weights: NDArray[Any], bias: Any = None) -> NDArray[Any]:
    """CONV_2D. weights [filters, height, width, channels]; groups if the images have more channels than the weights."""
    source, options = operator.input(0), operator.options
    filters, *window, channels = weights.shape
    dilation = (options.dilationHFactor, options.dilationWFactor)
    seen = windows(images, (window[0], window[1]), options, source.zero_point, dilation)
    groups = images.shape[3] // channels
    sums = []
    for group in range(groups):
        part = slice(group * filters // groups, (group + 1) * filters // groups)
        rows = seen[..., group * channels : (group + 1) * channels].reshape(-1, channels * window[0] * window[1])
        sums.append(_products(rows, source, _steps(operator, weights)[part].reshape(filters // groups, -1)))
    accumulators = np.concatenate(sums, axis=1).reshape(*seen.shape[:3], filters)
    return _finished(operator, accumulators, bias)


def depthwise(
    operator: EmulatedOperator, images: NDArray[Any], weights: NDArray[Any], bias: Any = None
) -> NDArray[Any]:
    """DEPTHWISE_CONV_2D. weights [1, height, width, channels x multiplier]."""
    source, options = operator.input(0), operator.options
    _, height, width, filters = weights.shape
    dilation = (options.dilationHFactor, options.dilationWFactor)
    seen = windows(images, (height, width), options, source.zero_point, dilation)
    each = filters // images.shape[3]
    steps = _steps(operator, weights).reshape(height, width, images.shape[3], each)
    accumulators = np.zeros((*seen.shape[:3], images.shape[3], each), np.int64)
    for row in range(height):
        for column in range(width):
            values = seen[:, :, :, row, column].astype(np.int64) - source.zero_point
            accumulators += values[..., np.newaxis] * steps[row, column]
    return _finished(operator, accumulators.reshape(*seen.shape[:3], filters), bias)


def fully_connected(
    operator: EmulatedOperator, values: NDArray[Any], weights: NDArray[Any], bias: Any = None
) -> NDArray[Any]:
    """FULLY_CONNECTED. weights [units, features]. It alone multiplies by M in float64 and rounds once."""
    accumulators = _products(values.reshape(-1, weights.shape[1]), operator.input(0), _steps(operator, weights))
    if operator.options.keepNumDims:
        accumulators = accumulators.reshape(*values.shape[:-1], len(weights))
    accumulators = accumulators if bias is None else accumulators + bias
    scaled = accumulators.astype(np.float64) * _real_multiplier(operator, operator.input(0), np.float64)
    steps = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled).astype(np.int64)
    return clamped(steps, operator.outputs[0], operator.options.fusedActivationFunction)


def transpose_conv(
    operator: EmulatedOperator, shape: NDArray[Any], weights: NDArray[Any], images: NDArray[Any], bias: Any = None
) -> NDArray[Any]:
    """TRANSPOSE_CONV. weights [filters, height, width, channels]; the output's shape is the first input."""
    source, options = operator.input(2), operator.options
    filters, height, width, channels = weights.shape
    strides = (options.strideH, options.strideW)
    fronts = [
        before(int(size), span, stride, 1, options.padding)[1]
        for size, span, stride in zip(shape[1:3], (height, width), strides, strict=True)
    ]
    batch, rows, columns, _ = images.shape
    steps = _steps(operator, weights).transpose(3, 1, 2, 0).reshape(channels, -1).T
    spread = _products(images.reshape(-1, channels), source, steps).reshape(
        batch, rows, columns, height, width, filters
    )
    room = (rows * strides[0] + height, columns * strides[1] + width)
    canvas = np.zeros((batch, *room, filters), np.int64)
    for row in range(height):
        for column in range(width):
            down = slice(row, row + rows * strides[0], strides[0])
            right = slice(column, column + columns * strides[1], strides[1])
            canvas[:, down, right] += spread[:, :, :, row, column]
    cut = canvas[:, fronts[0] : fronts[0] + int(shape[1]), fronts[1] : fronts[1] + int(shape[2])]
    return _finished(operator, cut, bias, source)


def _steps(operator: EmulatedOperator, weights: NDArray[Any]) -> NDArray[np.int64]:
    """Returns q2 - Z2 of the weights; their zero points are along the quantized axis."""
    tensor = operator.input(1)
    shape = [1] * weights.ndim
    shape[tensor.axis if len(tensor.zero_points) > 1 else 0] = -1
    return weights.astype(np.int64) - tensor.zero_points.reshape(shape)


def _products(rows: NDArray[Any], source: EmulatedTensor, steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """(q1 - Z1) times (q2 - Z2), summed: [n, features] and [units, features] -> [n, units]."""
    return ((rows.astype(np.float64) - source.zero_point) @ steps.T.astype(np.float64)).astype(np.int64)


def _finished(
    operator: EmulatedOperator, accumulators: NDArray[np.int64], bias: Any, images: EmulatedTensor | None = None
) -> NDArray[Any]:
    """Bias (scale S1 S2, zero point 0: eq. 11), requantization, activation."""
    source = images or operator.input(0)
    # LiteRT's uint8 kernels have one multiplier, and form S1 S2 in float32; int8 has one per channel, in float64.
    kind = np.float32 if source.dtype == np.uint8 else np.float64
    accumulators = accumulators if bias is None else accumulators + bias
    activation = getattr(operator.options, "fusedActivationFunction", schema.ActivationFunctionType.NONE)
    return requantized(accumulators, _real_multiplier(operator, source, kind), operator.outputs[0], activation)


def _real_multiplier(
    operator: EmulatedOperator, source: EmulatedTensor, kind: type[np.floating]
) -> NDArray[np.float64]:
    """M = S1 S2 / S3 (eq. 5), one or one per channel, with S1 S2 formed in `kind`."""
    product = source.scales[:1].astype(kind) * operator.input(1).scales.astype(kind)
    return product.astype(np.float64) / np.float64(operator.outputs[0].scale)
