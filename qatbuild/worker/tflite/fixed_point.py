"""Fixed-point arithmetic in NumPy, with the bits of gemmlowp, which LiteRT's reference kernels use.

The runtime multiplies an int32 accumulator not by a float M, but by M = 2^shift M0, with M0 in [1/2, 1) as an int32
with 31 fractional bits (Jacob et al. 2018, arXiv:1712.05877, eq. 5 and 6). The reference kernels of LiteRT 2.3 round
twice: in the doubling high multiplication, and in the division by the power of two.

"Raw" numbers are int32 values in int64 arrays; with n integer bits they stand for raw / 2^(31 - n).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Raw = NDArray[np.int64]

INT32_MAX = 2**31 - 1
INT32_MIN = -(2**31)
_TAYLOR_CENTRE = -1 / 8
_EXP_POWERS = range(-2, 5)  # the bits of the exponent's argument from 2^-2 to 2^4: five integer bits
_NEWTON_STEPS = 3


def quantized_multiplier(real: ArrayLike) -> tuple[Raw, Raw]:
    """Returns M0 (raw, no integer bits) and shift of real factors M = 2^shift M0 >= 0: Jacob et al. 2018, eq. 6.

    `real`: float64 of any shape, as are both results. Factors below 2^-32 become 0, as in LiteRT.
    """
    fraction, exponent = np.frexp(np.asarray(real, np.float64))
    raw = np.floor(fraction * 2.0**31 + 0.5).astype(np.int64)
    shift = exponent.astype(np.int64)
    carried = raw == 2**31
    raw, shift = np.where(carried, 2**30, raw), shift + carried
    flushed = shift < -31  # noqa: PLR2004 - all bits would be shifted out
    return np.where(flushed, 0, raw), np.where(flushed, 0, shift)


def high_mul(one: ArrayLike, other: ArrayLike) -> Raw:
    """Returns round(2 a b / 2^32), halves up, saturated: SaturatingRoundingDoublingHighMul.

    The product of numbers with n and m integer bits has n + m; Jacob et al. 2018, section 2.2 and appendix B.
    """
    product = np.asarray(one, np.int64) * np.asarray(other, np.int64)
    nudged = product + np.where(product >= 0, 2**30, 1 - 2**30)
    truncated = (nudged + np.where(nudged < 0, 2**31 - 1, 0)) >> 31
    return np.minimum(truncated, INT32_MAX)


def rounding_divide_by_pot(raw: ArrayLike, exponent: ArrayLike) -> Raw:
    """Returns round(a / 2^exponent), halves away from zero: RoundingDivideByPOT; Jacob et al. 2018, appendix B."""
    values, power = np.asarray(raw, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << power) - 1
    return (values >> power) + ((values & mask) > (mask >> 1) + (values < 0))


def multiply(raw: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> Raw:
    """Returns round(a M), M = 2^shift M0, rounded twice: MultiplyByQuantizedMultiplier; Jacob et al., section 2.2.

    The shift to the left wraps around as int32 does; `multiplier` and `shift` are broadcast (one per channel).
    """
    shift = np.asarray(shift, np.int64)
    moved = as_int32(np.asarray(raw, np.int64) << np.maximum(shift, 0))
    return rounding_divide_by_pot(high_mul(moved, multiplier), np.maximum(-shift, 0))


def as_int32(values: ArrayLike) -> Raw:
    """Returns the values modulo 2^32, as an int32 register holds them."""
    return np.asarray(values, np.int64).astype(np.int32).astype(np.int64)


def saturating_left_shift(raw: ArrayLike, exponent: int) -> Raw:
    """Returns a 2^exponent, saturated: SaturatingRoundingMultiplyByPOT for exponents > 0."""
    return np.clip(np.asarray(raw, np.int64) << exponent, INT32_MIN, INT32_MAX)


def exp_on_negative_values(raw: ArrayLike) -> Raw:
    """Returns exp(a), raw with no integer bits, for a <= 0 with 5 integer bits.

    It is the product of exp of the remainder below 1/4, and exp(-2^k) for each bit k of the rest.

    Jacob et al. 2018, section 2.1 (functions in pure fixed point) and appendix A.1.
    """
    values = np.asarray(raw, np.int64)
    quarter = 1 << 24  # 26 fractional bits
    rest = (values & (quarter - 1)) - quarter
    result = _exp_from_minus_a_quarter(saturating_left_shift(rest, 5))
    bits = rest - values
    for power in _EXP_POWERS:
        factor = _constant(np.exp(-(2.0**power)))
        result = np.where(bits & (1 << (26 + power)), high_mul(result, factor), result)
    return np.where(values == 0, INT32_MAX, result)


def reciprocal(raw: ArrayLike, integer_bits: int) -> tuple[Raw, Raw]:
    """Returns s (raw, no integer bits) and k with 1/x = s 2^-k, for x > 0 with `integer_bits`: GetReciprocal.

    x is shifted into [1, 2); the division is Newton and Raphson's: three steps from 48/17 - 32/17 d, d in [1/2, 1].
    """
    values = np.asarray(raw, np.int64)
    leading_zeros = 32 - np.frexp(values.astype(np.float64))[1].astype(np.int64)
    fraction = (values << leading_zeros) - 2**31
    half = (fraction + INT32_MAX + 1) >> 1  # (1 + x) / 2, rounded; never negative
    estimate = _constant(48 / 17, 2) + high_mul(half, _constant(-32 / 17, 2))
    for _ in range(_NEWTON_STEPS):
        missing = 2**29 - high_mul(half, estimate)
        estimate = as_int32(estimate + saturating_left_shift(high_mul(estimate, missing), 2))
    return saturating_left_shift(estimate, 1), integer_bits - leading_zeros


def _exp_from_minus_a_quarter(raw: Raw) -> Raw:
    """Returns exp(a) for a in [-1/4, 0), no integer bits: the Taylor series to the fourth power around -1/8."""
    x = raw + (1 << 28)
    x2 = high_mul(x, x)
    x3, x4 = high_mul(x2, x), high_mul(x2, x2)
    third = high_mul(rounding_divide_by_pot(x4, 2) + x3, _constant(1 / 3))
    series = x + rounding_divide_by_pot(third + x2, 1)
    centre = _constant(np.exp(_TAYLOR_CENTRE))
    return centre + high_mul(centre, series)


def _constant(real: float, integer_bits: int = 0) -> int:
    return int(np.floor(real * 2.0 ** (31 - integer_bits) + 0.5))
