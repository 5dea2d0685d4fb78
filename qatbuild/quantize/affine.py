"""Affine quantization in NumPy: the equations that training, conversion and runtime agree on.

    r = S (q - Z)        Jacob et al. 2018 (arXiv:1712.05877), eq. 1

with the real value r, the integer code q, the positive scale S and the zero point Z, a code itself, so that 0 has
an exact code. Ranges and codes are those of tf.quantization.fake_quant_with_min_max_vars, whose arithmetic (float32)
is followed operation by operation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Affine:
    """The scale S and zero point Z of a tensor (scalars), or of its channels (one each, along the last axis).

    `scale`: float32, > 0. `zero_point`: int32, `quant_min` <= Z <= `quant_max`, the least and greatest code.
    """

    scale: Floats
    zero_point: Codes
    quant_min: int
    quant_max: int

    @property
    def real_min(self) -> Floats:
        """The least representable value, S (quant_min - Z): the nudged minimum."""
        return np.float32(self.quant_min - self.zero_point) * self.scale

    @property
    def real_max(self) -> Floats:
        """The greatest representable value, S (quant_max - Z): the nudged maximum."""
        return np.float32(self.quant_max - self.zero_point) * self.scale


def codes(bits: int = 8, *, narrow_range: bool = False) -> tuple[int, int]:
    """The least and greatest code: 0 or, with `narrow_range`, 1; and 2^bits - 1.

    Without the least code, signed weights (code - 2^(bits - 1)) never are -2^(bits - 1): Jacob et al. 2018,
    appendix B.
    """
    return int(narrow_range), 2**bits - 1


def affine(low: ArrayLike, high: ArrayLike, bits: int = 8, *, narrow_range: bool = False) -> Affine:
    """Scale and zero point of the range [low, high], moved so that 0 is a code ("nudged").

        S = (high - low) / (quant_max - quant_min)                 Jacob et al. 2018, eq. 12
        Z = round(quant_min - low / S), clamped to the codes       Jacob et al. 2018, section 3.1

    `low`, `high`: float32, scalars or one per channel, low < high. A range without 0 is moved until 0 is at its end.
    ValueError if a range is empty.
    """
    quant_min, quant_max = codes(bits, narrow_range=narrow_range)
    low32, high32 = np.asarray(low, np.float32), np.asarray(high, np.float32)
    if not np.all(low32 < high32):
        raise ValueError(f"An empty range has no scale: min {low32}, max {high32}.")
    scale = (high32 - low32) / np.float32(quant_max - quant_min)
    exact = np.float32(quant_min) - low32 / scale
    below = np.floor(exact)
    rounded = below + (exact - below >= np.float32(0.5))  # halves up; adding 0.5 first would round twice
    zero_point = np.clip(rounded, quant_min, quant_max)
    return Affine(np.asarray(scale, np.float32), np.asarray(zero_point, np.int32), quant_min, quant_max)


def quantize(values: ArrayLike, numbers: Affine) -> Codes:
    """The nearest codes, q = round(clamp(r; real_min, real_max) / S) + Z, halves up: Jacob et al. 2018, eq. 12.

    `values`: float32 of any shape; with per-channel numbers the channels are the last axis. int32 codes.
    TF's kernel may round a value within 1e-4 steps of a half to the other neighbour (its order of float32 operations
    depends on the vector unit); everywhere else the two are equal to the last bit.
    """
    clamped = np.clip(np.asarray(values, np.float32), numbers.real_min, numbers.real_max)
    inverse = np.float32(1.0) / numbers.scale
    zero_steps = (numbers.zero_point - numbers.quant_min).astype(np.float32)
    steps = np.floor((clamped - numbers.real_min) * inverse - zero_steps + np.float32(0.5))
    return np.asarray(np.clip(steps + numbers.zero_point, numbers.quant_min, numbers.quant_max), np.int32)


def dequantize(quantized: ArrayLike, numbers: Affine) -> Floats:
    """The values of codes, r = S (q - Z): Jacob et al. 2018, eq. 1. float32 of the codes' shape."""
    steps = np.asarray(quantized, np.int64) - numbers.zero_point
    return np.asarray(steps.astype(np.float32) * numbers.scale, np.float32)


def fake_quantize(values: ArrayLike, numbers: Affine) -> Floats:
    """The values that the integers can hold: dequantize(quantize(r)), Jacob et al. 2018, eq. 12. float32."""
    return dequantize(quantize(values, numbers), numbers)
