"""Fixed-point arithmetic against exact integers and real functions; against LiteRT: tests/tflite/test_emulator*."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qatbuild.worker.tflite import fixed_point

INT32 = st.integers(-(2**31), 2**31 - 1)
UNIT = 2.0**31


def nearest(value: Fraction) -> int:
    """Halves away from zero."""
    size = int(abs(value) + Fraction(1, 2))
    return size if value >= 0 else -size


@given(st.floats(2.0**-30, 2.0**10))
@example(1 - 2.0**-40)  # rounds up to 1: the exponent takes one more
def test_a_multiplier_is_its_real_factor_to_31_bits(real):
    raw, shift = (int(part) for part in fixed_point.quantized_multiplier(real))
    assert 2**30 <= raw < 2**31
    assert abs(Fraction(raw) * Fraction(2) ** (shift - 31) / Fraction(real) - 1) <= Fraction(1, 2**31)


@pytest.mark.parametrize("real", [0.0, 2.0**-40])
def test_factors_too_small_for_31_bits_are_zero(real):
    multiplier, shift = fixed_point.quantized_multiplier(real)
    assert (int(multiplier), int(shift)) == (0, 0)


@given(INT32, INT32)
@example(-(2**31), -(2**31))
@example(-(2**15), 2**15)
def test_the_high_product_is_rounded_and_saturated(one, other):
    halves_up = floor(Fraction(one * other, 2**31) + Fraction(1, 2))
    assert int(fixed_point.high_mul(one, other)) == min(halves_up, 2**31 - 1)


@given(INT32, st.integers(0, 31))
@example(-3, 1)
@example(3, 1)
def test_division_by_a_power_of_two_rounds_halves_away_from_zero(raw, exponent):
    assert int(fixed_point.rounding_divide_by_pot(raw, exponent)) == nearest(Fraction(raw, 2**exponent))


@given(st.integers(-(2**24), 2**24), st.floats(2.0**-20, 2.0**5))
def test_a_product_with_a_multiplier_is_within_one_of_the_real_product(raw, real):
    product = int(fixed_point.multiply(raw, *fixed_point.quantized_multiplier(real)))
    assert abs(product - raw * real) <= 1 + abs(raw * real) * 2.0**-30


@given(st.floats(-31.9, 0.0))
def test_exp_is_exp_to_six_digits(real):
    raw = round(real * 2.0**26)
    assert (
        abs(int(fixed_point.exp_on_negative_values(raw)) / UNIT - np.exp(raw / 2.0**26)) < 3e-7
    )  # the fifth power's term: (1/8)^5 / 5!


@given(st.integers(1, 2**31 - 1))
def test_a_reciprocal_is_one_over_x_to_eight_digits(raw):
    scale, bits = fixed_point.reciprocal(raw, 12)
    real = raw / 2.0**19
    assert abs(int(scale) / UNIT * 2.0 ** -int(bits) * real - 1) < 2e-8


def test_arrays_are_computed_element_by_element():
    raw = np.arange(-40, 40) * 12345
    multiplier, shift = fixed_point.quantized_multiplier([0.3, 0.07])
    together = fixed_point.multiply(raw.reshape(-1, 2), multiplier, shift)
    one_by_one = [int(fixed_point.multiply(each, multiplier[at % 2], shift[at % 2])) for at, each in enumerate(raw)]
    assert list(together.ravel()) == one_by_one
