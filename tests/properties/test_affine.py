"""Affine quantization in NumPy equals TensorFlow's FakeQuant kernels and LiteRT's QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qatbuild.worker.tflite.affine import dequantize, fake_quantize, quant_params, quantize
from tests.tflite.flatbuffers import Wire, infer, single

pytestmark = pytest.mark.tf

# The kernels round by floor(x / scale + 1/2) in float32, in another order of operations: this near to a half, in
# steps, a value may go to either neighbour.
HALF = 1e-4


@st.composite
def ranges(draw):
    low = draw(st.floats(-1e3, 1e3, width=32))
    size = draw(st.floats(2.0**-6, 1e3, width=32))
    low, high = np.float32(low), np.float32(low + size)
    return (low, high) if low < high else (low, np.float32(low + 1))


formats = st.tuples(ranges(), st.integers(2, 8), st.booleans())
values = arrays(np.float32, st.integers(1, 64), elements=st.floats(-1.0, 2.0, width=32))


def params_of(case):
    (low, high), bits, narrow_range = case
    return quant_params(low, high, bits, narrow_range=narrow_range)


def spread(case, fractions):
    """Values around the range: 0 is its minimum, 1 its maximum."""
    (low, high), *_ = case
    return np.asarray(low + fractions * (high - low), np.float32)


def decided(real, params):
    """Whether a value is clear of the halves between two quantized values, and of the ends of the range."""
    steps = np.float64(real) / params.scale
    return np.abs(steps - np.floor(steps) - 0.5) > HALF


@settings(deadline=None, max_examples=300)
@given(formats, values)
def test_fake_quantize_equals_tensorflows_kernel_to_the_last_bit_off_the_halves(case, fractions):
    (low, high), bits, narrow_range = case
    real, params = spread(case, fractions), params_of(case)
    kernel = tf.quantization.fake_quant_with_min_max_vars(real, low, high, bits, narrow_range).numpy()
    mine, clear = fake_quantize(real, params), decided(real, params)
    np.testing.assert_array_equal(mine[clear], kernel[clear])
    assert np.all(np.abs(mine - kernel) <= params.scale * 1.001)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(ranges(), min_size=3, max_size=3),
    st.integers(2, 8),
    st.booleans(),
    arrays(np.float32, (7, 3), elements=st.floats(-1, 2, width=32)),
)
def test_per_channel_fake_quantize_equals_tensorflows_kernel(channels, bits, narrow_range, fractions):
    low, high = (np.asarray(each, np.float32) for each in zip(*channels, strict=True))
    real = np.asarray(low + fractions * (high - low), np.float32)
    params = quant_params(low, high, bits, narrow_range=narrow_range)
    kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(real, low, high, bits, narrow_range)
    clear = decided(real, params)
    np.testing.assert_array_equal(fake_quantize(real, params)[clear], kernel.numpy()[clear])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@settings(deadline=None, max_examples=50)
@given(ranges(), values)
def test_quantize_and_dequantize_equal_litert_s_operators(dtype, ends, fractions):
    params, case = quant_params(*ends), (ends, 8, False)
    shift = 0 if dtype == np.uint8 else 128
    integer = Wire(dtype, fractions.shape, [float(params.scale)], [int(params.zero_point) - shift])
    floats, real = Wire(np.float32, fractions.shape), spread(case, fractions)
    runtime = infer(single("QUANTIZE", None, [floats], integer), [real])
    clear = decided(real, params)
    np.testing.assert_array_equal((quantize(real, params) - shift)[clear], runtime[clear])
    dequantized = infer(single("DEQUANTIZE", None, [integer], floats, 2), [runtime])
    np.testing.assert_array_equal(dequantize(runtime.astype(np.int32) + shift, params), dequantized)


@given(formats)
def test_zero_is_exactly_representable(case):
    params = params_of(case)
    assert quantize(0.0, params) == params.zero_point
    assert fake_quantize(0.0, params) == 0
    assert params.real_min <= 0 <= params.real_max


@given(formats, values)
def test_round_trip_is_within_half_a_step_inside_the_range(case, fractions):
    params = params_of(case)
    real = np.clip(spread(case, fractions), params.real_min, params.real_max)
    assert np.all(np.abs(np.float64(fake_quantize(real, params)) - real) <= params.scale * (0.5 + HALF))


@given(formats, values)
def test_values_outside_the_range_go_to_its_ends(case, fractions):
    params = params_of(case)
    assert np.all(quantize(params.real_max + np.abs(fractions), params) == params.quant_max)
    assert np.all(quantize(params.real_min - np.abs(fractions), params) == params.quant_min)


@given(formats)
def test_every_quantized_value_survives_a_round_trip(case):
    params = params_of(case)
    every = np.arange(params.quant_min, params.quant_max + 1)
    np.testing.assert_array_equal(quantize(dequantize(every, params), params), every)


@pytest.mark.parametrize(
    ("low", "high", "bits", "narrow_range", "scale", "zero_point"),
    [
        (0.0, 6.0, 8, False, 6 / 255, 0),
        (-6.0, 6.0, 8, True, 12 / 254, 128),
        (-1.0, 3.0, 2, False, 4 / 3, 1),
        (-121 / 64, (255 - 121) / 64, 8, False, 1 / 64, 121),  # the 2018 guide's input: mean 121, std_dev 64
        (0.5, 5.0, 8, False, 4.5 / 255, 0),  # a range without 0 is moved to contain it
    ],
)
def test_known_ranges(  # noqa: PLR0917 - columns
    low, high, bits, narrow_range, scale, zero_point
):
    params = quant_params(low, high, bits, narrow_range=narrow_range)
    np.testing.assert_allclose(params.scale, scale, rtol=1e-6)
    assert params.zero_point == zero_point


def test_narrow_range_gives_up_the_smallest_quantized_value():
    wide, narrow = quant_params(-1, 1), quant_params(-1, 1, narrow_range=True)
    assert (wide.quant_min, wide.quant_max) == (0, 255)
    assert (narrow.quant_min, narrow.quant_max) == (1, 255)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (1, -1), ([0, 0], [1, 0])])
def test_empty_range_is_refused(low, high):
    with pytest.raises(ValueError, match="empty range"):
        quant_params(low, high)
