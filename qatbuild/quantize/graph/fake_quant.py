"""FakeQuant: its op types, and the formulas of ranges that training and calibration share."""

from __future__ import annotations

import math

FAKE_QUANT_TYPES = frozenset(
    {"FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel"}
)

EMA_DECAY = 0.999
"""Decay of the exponential moving average of an activation's minimum and maximum, once per step (batch)."""

SMALLEST_RANGE = 2.0**-12
"""Smallest width (max - min) of a range in mode integer and in calibration.

An empty range would have scale 0, which the converter replaces by a scale that the graph does not use. 2^-12 is small
beside the output of any layer that is not constant, and large enough that the scale of the layer's bias, the product of
two scales, still holds the bias in 32 bits.
"""

_HALF = 0.5
_NEAR = 1e-3
"""Steps from a half within which float32 and float64 may round to different integers."""


def quant_limits(bits: int = 8, *, narrow_range: bool = False) -> tuple[int, int]:
    """Returns (quant_min, quant_max): (0 or, with `narrow_range`, 1; 2^bits - 1).

    Without the smallest value, signed weights (q - 2^(bits - 1)) never are -2^(bits - 1): Jacob et al. 2018,
    appendix B.
    """
    return int(narrow_range), 2**bits - 1


def symmetric_ratio(bits: int, *, narrow_range: bool) -> float:
    """Returns min / max of a symmetric range, a negative number.

    Two's complement has one more negative value than positive ones, unless `narrow_range` gives it up.
    """
    return -1.0 if narrow_range else -(2**bits - 2) / 2**bits


def halfway_zero_point(least: float, greatest: float, steps: int) -> bool:
    """Returns whether the zero point of a range of this many steps lies halfway between two integers, as in -1 .. 1.

    FakeQuant finds the zero point in float32, the converter in float64: they round it to different integers.
    """
    exact = -least * steps / (greatest - least)
    return abs(exact - math.floor(exact) - _HALF) <= _NEAR
