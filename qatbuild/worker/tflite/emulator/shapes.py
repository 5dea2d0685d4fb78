"""Operations that only move quantized values; a concatenation also rescales parts of other scales."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.worker.tflite.emulator.graph import EmulatedOperator


def reshape(operator: EmulatedOperator, values: NDArray[Any], shape: Any = None) -> NDArray[Any]:
    """RESHAPE: the new shape is an input, or an option."""
    wanted = operator.options.newShape if shape is None else shape
    return values.reshape([int(size) for size in np.ravel(wanted)])


def squeeze(operator: EmulatedOperator, values: NDArray[Any]) -> NDArray[Any]:
    """SQUEEZE: removes the named dimensions, or all of size 1."""
    named = operator.options.squeezeDims
    axes = [axis for axis, size in enumerate(values.shape) if size == 1] if named is None or not len(named) else named
    return np.squeeze(values, tuple(int(axis) for axis in axes))


def expand_dims(_operator: EmulatedOperator, values: NDArray[Any], axis: NDArray[Any]) -> NDArray[Any]:
    """EXPAND_DIMS: adds a dimension of size 1."""
    return np.expand_dims(values, int(np.ravel(axis)[0]))


def transpose(_operator: EmulatedOperator, values: NDArray[Any], order: NDArray[Any]) -> NDArray[Any]:
    """TRANSPOSE."""
    return np.transpose(values, order)


def pad(operator: EmulatedOperator, values: NDArray[Any], widths: NDArray[Any], fill: Any = None) -> NDArray[Any]:
    """PAD and PADV2: with the zero point, or with the value that is an input."""
    padding = operator.outputs[0].zero_point if fill is None else np.ravel(fill)[0]
    return np.pad(values, widths, constant_values=padding)


def strided_slice(
    operator: EmulatedOperator, values: NDArray[Any], begin: NDArray[Any], end: NDArray[Any], strides: NDArray[Any]
) -> NDArray[Any]:
    """STRIDED_SLICE, with masks of its begins, ends and of the axes that shrink away."""
    options = operator.options
    index: list[Any] = []
    for axis, (first, last, stride) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << axis
        if options.shrinkAxisMask & bit:
            index.append(int(first))
        else:
            start, stop = (
                None if mask & bit else int(at) for mask, at in ((options.beginMask, first), (options.endMask, last))
            )
            index.append(slice(start, stop, int(stride)))
    return np.asarray(values[tuple(index)])


def slice_of(
    _operator: EmulatedOperator, values: NDArray[Any], begin: NDArray[Any], size: NDArray[Any]
) -> NDArray[Any]:
    """SLICE: sizes of -1 reach to the end."""
    ends = [None if count < 0 else first + count for first, count in zip(begin, size, strict=True)]
    return values[tuple(slice(int(first), last) for first, last in zip(begin, ends, strict=True))]


def shape_of(operator: EmulatedOperator, values: NDArray[Any]) -> NDArray[Any]:
    """SHAPE."""
    return np.asarray(values.shape, operator.outputs[0].dtype)


def pack(operator: EmulatedOperator, *values: NDArray[Any]) -> NDArray[Any]:
    """PACK: stacked along a new axis."""
    return np.stack(values, operator.options.axis)


def concatenation(operator: EmulatedOperator, *values: NDArray[Any]) -> NDArray[Any]:
    """CONCATENATION: Jacob et al. 2018, appendix A.3 requires one scale; parts of another are rescaled in float32.

    q3 = round(q1 S1 / S3 - Z1 S1 / S3) + Z3, halves away from zero, as LiteRT computes it for uint8.
    """
    output = operator.outputs[0]
    parts = []
    for position, part in enumerate(values):
        source = operator.input(position)
        if (source.scale, source.zero_point) == (output.scale, output.zero_point):
            parts.append(part)
            continue
        scale = source.scale * (np.float32(1) / output.scale)
        steps = part.astype(np.float32) * scale + np.float32(-source.zero_point) * scale
        rounded = np.copysign(np.floor(np.abs(steps) + np.float32(0.5)), steps) + output.zero_point
        parts.append(np.clip(rounded, *output.limits).astype(output.dtype))
    return np.concatenate(parts, operator.options.axis)
