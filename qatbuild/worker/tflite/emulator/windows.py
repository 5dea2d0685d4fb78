"""Sliding windows over images [batch, height, width, channels]: padding, strides, dilation, as views."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray


def before(size: int, window: int, stride: int, dilation: int, padding: int) -> tuple[int, int]:
    """Returns the number of windows along a dimension, and the padding before its first element.

    SAME gives ceil(size / stride) windows, the smaller half of the padding in front; VALID pads nothing.
    """
    reach = (window - 1) * dilation + 1
    if padding == schema.Padding.VALID:
        return (size - reach) // stride + 1, 0
    count = -(-size // stride)
    return count, max((count - 1) * stride + reach - size, 0) // 2


def windows(
    images: NDArray[Any], window: tuple[int, int], options: Any, fill: int, dilation: tuple[int, int] = (1, 1)
) -> NDArray[Any]:
    """Returns all windows, [batch, rows, columns, window height, window width, channels], with `fill` as padding.

    `options` is a flatbuffer table with padding, strideH and strideW.
    """
    strides = (options.strideH, options.strideW)
    counts, pads = [], []
    for size, span, stride, spread in zip(images.shape[1:3], window, strides, dilation, strict=True):
        count, front = before(size, span, stride, spread, options.padding)
        end = (count - 1) * stride + (span - 1) * spread + 1
        counts.append(count)
        pads.append((front, max(end - front - size, 0)))
    padded = np.pad(images, ((0, 0), *pads, (0, 0)), constant_values=fill)
    batch, down, right, channel = padded.strides
    return as_strided(
        padded,
        (len(images), *counts, *window, images.shape[3]),
        (batch, down * strides[0], right * strides[1], down * dilation[0], right * dilation[1], channel),
        writeable=False,
    )
