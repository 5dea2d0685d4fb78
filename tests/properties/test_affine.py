from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qatbuild.quantize.affine import affine, codes, dequantize, fake_quantize, quantize
from tests.tflite.flatbuffers import Wire, infer, single

pytestmark = pytest.mark.tf

# The kernels round by floor(x / scale + 1/2) in float32, in an order of their own: this near to a half, in steps, a
# value may go to either neighbour.
HALF = 1e-4


@st.composite
def ranges(draw):
    low = draw(st.floats(-1e3, 1e3, width=32))
    size = draw(st.floats(2.0**-6, 1e3, width=32))
    low, high = np.float32(low), np.float32(low + size)
    return (low, high) if low < high else (low, np.float32(low + 1))


numbers = st.tuples(ranges(), st.integers(2, 8), st.booleans())
values = arrays(np.float32, st.integers(1, 64), elements=st.floats(-1.0, 2.0, width=32))


def of(case):
    (low, high), bits, narrow_range = case
    return affine(low, high, bits, narrow_range=narrow_range)


def spread(case, fractions):
    """Values around the range: 0 is its minimum, 1 its maximum."""
    (low, high), *_ = case
    return np.asarray(low + fractions * (high - low), np.float32)


def decided(real, form):
    """Whether a value is clear of the halves between two codes, and of the ends of the range."""
    steps = np.float64(real) / form.scale
    return np.abs(steps - np.floor(steps) - 0.5) > HALF


@settings(deadline=None, max_examples=300)
@given(numbers, values)
def test_fake_quantize_equals_tensorflows_kernel_to_the_last_bit_off_the_halves(case, fractions):
    (low, high), bits, narrow_range = case
    real, form = spread(case, fractions), of(case)
    kernel = tf.quantization.fake_quant_with_min_max_vars(real, low, high, bits, narrow_range).numpy()
    mine, clear = fake_quantize(real, form), decided(real, form)
    np.testing.assert_array_equal(mine[clear], kernel[clear])
    assert np.all(np.abs(mine - kernel) <= form.scale * 1.001)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(ranges(), min_size=3, max_size=3),
    st.integers(2, 8),
    st.booleans(),
    arrays(np.float32, (7, 3), elements=st.floats(-1, 2, width=32)),
)
def test_per_channel_numbers_equal_tensorflows_kernel(channels, bits, narrow_range, fractions):
    low, high = (np.asarray(each, np.float32) for each in zip(*channels, strict=True))
    real = np.asarray(low + fractions * (high - low), np.float32)
    form = affine(low, high, bits, narrow_range=narrow_range)
    kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(real, low, high, bits, narrow_range)
    clear = decided(real, form)
    np.testing.assert_array_equal(fake_quantize(real, form)[clear], kernel.numpy()[clear])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@settings(deadline=None, max_examples=50)
@given(ranges(), values)
def test_codes_and_values_equal_litert_s_quantize_and_dequantize(dtype, ends, fractions):
    form, case = affine(*ends), (ends, 8, False)
    shift = 0 if dtype == np.uint8 else 128
    integer = Wire(dtype, fractions.shape, [float(form.scale)], [int(form.zero_point) - shift])
    floats, real = Wire(np.float32, fractions.shape), spread(case, fractions)
    runtime = infer(single("QUANTIZE", None, [floats], integer), [real])
    clear = decided(real, form)
    np.testing.assert_array_equal((quantize(real, form) - shift)[clear], runtime[clear])
    dequantized = infer(single("DEQUANTIZE", None, [integer], floats, 2), [runtime])
    np.testing.assert_array_equal(dequantize(runtime.astype(np.int32) + shift, form), dequantized)


@given(numbers)
def test_zero_is_exactly_representable(case):
    form = of(case)
    assert quantize(0.0, form) == form.zero_point
    assert fake_quantize(0.0, form) == 0
    assert form.real_min <= 0 <= form.real_max


@given(numbers, values)
def test_round_trip_is_within_half_a_step_inside_the_range(case, fractions):
    form = of(case)
    real = np.clip(spread(case, fractions), form.real_min, form.real_max)
    assert np.all(np.abs(np.float64(fake_quantize(real, form)) - real) <= form.scale * (0.5 + HALF))


@given(numbers, values)
def test_values_outside_the_range_go_to_its_ends(case, fractions):
    form = of(case)
    assert np.all(quantize(form.real_max + np.abs(fractions), form) == form.quant_max)
    assert np.all(quantize(form.real_min - np.abs(fractions), form) == form.quant_min)


@given(numbers)
def test_every_code_comes_back_as_itself(case):
    form = of(case)
    every = np.arange(form.quant_min, form.quant_max + 1)
    np.testing.assert_array_equal(quantize(dequantize(every, form), form), every)


@pytest.mark.parametrize(
    ("low", "high", "bits", "narrow_range", "scale", "zero_point"),
    [
        (0.0, 6.0, 8, False, 6 / 255, 0),
        (-6.0, 6.0, 8, True, 12 / 254, 128),
        (-1.0, 3.0, 2, False, 4 / 3, 1),
        (-121 / 64, (255 - 121) / 64, 8, False, 1 / 64, 121),  # the 2018 guide's input: mean 121, std_dev 64
        (0.5, 5.0, 8, False, 4.5 / 255, 0),  # a range without 0 is moved to it
    ],
)
def test_known_ranges(  # noqa: PLR0917 - columns
    low, high, bits, narrow_range, scale, zero_point
):
    form = affine(low, high, bits, narrow_range=narrow_range)
    np.testing.assert_allclose(form.scale, scale, rtol=1e-6)
    assert form.zero_point == zero_point


def test_narrow_range_gives_up_the_least_code():
    assert codes(8) == (0, 255)
    assert codes(8, narrow_range=True) == (1, 255)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (1, -1), ([0, 0], [1, 0])])
def test_empty_range_is_refused(low, high):
    with pytest.raises(ValueError, match="empty range"):
        affine(low, high)
