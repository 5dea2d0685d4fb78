"""Affine quantization in NumPy: the equations that training, conversion and runtime agree on.

    r = S (q - Z)        Jacob et al. 2018 (arXiv:1712.05877), eq. 1

with the real value r, the quantized value q, the positive scale S and the zero point Z, a quantized value itself, so
that 0 is exact. Ranges and quantized values are those of tf.quantization.fake_quant_with_min_max_vars, whose float32
arithmetic is followed operation by operation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Quantized = NDArray[np.int32]


@dataclass(frozen=True)
class QuantParams:
    """The scale S and zero point Z of a tensor (scalars), or of its channels (one each, along the last axis).

    `scale`: float32, > 0. `zero_point`: int32, `quant_min` <= Z <= `quant_max`, the limits of the quantized values.
    """

    scale: Floats
    zero_point: Quantized
    quant_min: int
    quant_max: int

    @property
    def real_min(self) -> Floats:
        """The smallest representable value, S (quant_min - Z): the nudged minimum."""
        return np.float32(self.quant_min - self.zero_point) * self.scale

    @property
    def real_max(self) -> Floats:
        """The largest representable value, S (quant_max - Z): the nudged maximum."""
        return np.float32(self.quant_max - self.zero_point) * self.scale


def quant_params(
    range_min: ArrayLike, range_max: ArrayLike, bits: int = 8, *, narrow_range: bool = False
) -> QuantParams:
    """Returns scale and zero point of a range, which is moved ("nudged") so that 0 is a quantized value.

        S = (max - min) / (quant_max - quant_min)                          Jacob et al. 2018, eq. 12
        Z = round(quant_min - min / S), clamped to quant_min .. quant_max  Jacob et al. 2018, section 3.1

    `range_min`, `range_max`: float32, scalars or one per channel, min < max. quant_max is 2^bits - 1, quant_min is 0,
    or 1 with `narrow_range`. A range without 0 is moved until 0 is one of its ends. ValueError if a range is empty.
    """
    quant_min, quant_max = int(narrow_range), 2**bits - 1
    min32, max32 = np.asarray(range_min, np.float32), np.asarray(range_max, np.float32)
    if not np.all(min32 < max32):
        raise ValueError(f"An empty range has no scale: min {min32}, max {max32}.")
    scale = (max32 - min32) / np.float32(quant_max - quant_min)
    exact = np.float32(quant_min) - min32 / scale
    below = np.floor(exact)
    rounded = below + (exact - below >= np.float32(0.5))  # halves up; adding 0.5 first would round twice
    zero_point = np.clip(rounded, quant_min, quant_max)
    return QuantParams(np.asarray(scale, np.float32), np.asarray(zero_point, np.int32), quant_min, quant_max)


def quantize(values: ArrayLike, params: QuantParams) -> Quantized:
    """Returns the nearest quantized values, q = round(clamp(r; real_min, real_max) / S) + Z, halves up: eq. 12.

    `values`: float32 of any shape; with per-channel params the channels are the last axis. int32 of the same shape.
    TF's kernel may round a value within 1e-4 steps of a half to the other neighbour (its order of float32 operations
    depends on the vector unit); everywhere else the two are equal to the last bit.
    """
    clamped = np.clip(np.asarray(values, np.float32), params.real_min, params.real_max)
    inverse = np.float32(1.0) / params.scale
    zero_steps = (params.zero_point - params.quant_min).astype(np.float32)
    steps = np.floor((clamped - params.real_min) * inverse - zero_steps + np.float32(0.5))
    return np.asarray(np.clip(steps + params.zero_point, params.quant_min, params.quant_max), np.int32)


def dequantize(quantized: ArrayLike, params: QuantParams) -> Floats:
    """Returns the real values r = S (q - Z): Jacob et al. 2018, eq. 1. float32 of the same shape."""
    steps = np.asarray(quantized, np.int64) - params.zero_point
    return np.asarray(steps.astype(np.float32) * params.scale, np.float32)


def fake_quantize(values: ArrayLike, params: QuantParams) -> Floats:
    """Returns the nearest representable values, dequantize(quantize(r)): Jacob et al. 2018, eq. 12. float32."""
    return dequantize(quantize(values, params), params)
