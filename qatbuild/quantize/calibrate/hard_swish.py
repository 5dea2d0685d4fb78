"""Ranges in which the integer kernel of a hard-swish gives what its FakeQuant gives, for all of its 256 inputs.

The kernel multiplies numbers of 16 bits, and what it rounds at the end is off by up to 1/128 of a step. A result this
near to the middle between two quantized values may become the other one. Of the 256 inputs that is so for one or two,
which thousands of an image's values may be. In a range that is wider by a thousandth, no result is that near.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qatbuild.quantize.calibrate.observers import MeasuredRange
from qatbuild.quantize.graph.fake_quant import quant_limits

Integers = NDArray[np.int64]

_LARGEST = quant_limits()[1]
_CODES = np.arange(_LARGEST + 1, dtype=np.int64)
_STEP = 2.0**-12
_MOST_STEPS = 64
_BITS = 15
_INPUT_BITS = 7
"""The kernel's input has this many bits behind the point."""


class Grid(NamedTuple):
    """The quantized values of a range, 0 .. 255: as int8 they are 128 less, and so is the zero point."""

    scale: np.float32
    zero_point: int

    @classmethod
    def of(cls, measured: MeasuredRange) -> Grid:
        """Returns the grid to which FakeQuant and converter move a range."""
        scale = (measured.max - measured.min) / _LARGEST
        return cls(np.float32(scale), int(np.clip(np.round(-measured.min / scale), 0, _LARGEST)))


def widened(source: MeasuredRange, output: MeasuredRange) -> MeasuredRange:
    """Returns the range of a hard-swish's output, wider where the kernel would differ; as it is if nothing helps."""
    x = Grid.of(source)
    for step in range(_MOST_STEPS):
        factor = 1 + step * _STEP
        wider = MeasuredRange(output.min * factor, output.max * factor)
        y = Grid.of(wider)
        if np.array_equal(kernel(x, y), fake_quantized(x, y)):
            return wider
    return output


def fake_quantized(x: Grid, y: Grid) -> Integers:
    """Returns what FakeQuant gives for each quantized input, int64 [256]."""
    reals = (_CODES - x.zero_point) * np.float64(x.scale)
    outputs = reals * np.clip(reals + 3, 0, 6) / 6
    return np.clip(np.floor(outputs / y.scale + 0.5) + y.zero_point, 0, _LARGEST).astype(np.int64)


def kernel(x: Grid, y: Grid) -> Integers:
    """Returns what LiteRT's HARD_SWISH gives for each quantized input, int64 [256].

    The two factors of the product have 15 bits behind the point: x in steps of the output, and relu6(x + 3) / 6, which
    is (x / 3 + 1) / 2 with x / 3 saturated at -1 and 1.
    """
    inputs = (_CODES - x.zero_point) << _INPUT_BITS
    scale = x.scale / np.float32(1 << _INPUT_BITS)
    factor, shift = _multiplier(scale / y.scale)
    value = _high_product(inputs, factor)
    factor, gate_shift = _multiplier(scale / np.float32(3 / (1 << _BITS)))
    gate = inputs
    if gate_shift > 0:
        gate = _saturated(_high_product(_saturated(gate << (gate_shift - 1)), factor) << 1)
    else:
        gate = _divided(_high_product(gate, factor), -gate_shift)
    gate = (gate + (1 << _BITS)) >> 1
    product = np.trunc(gate * value / (1 << _BITS)).astype(np.int64)
    return np.clip(_divided(product, max(-shift, 0)) + y.zero_point, 0, _LARGEST)


def _multiplier(real: np.float32) -> tuple[int, int]:
    """Returns a factor of 15 bits and a shift: real = factor 2^(shift - 15), rounded to 31 bits and then to 15."""
    mantissa, shift = np.frexp(np.float64(real))
    factor = (round(float(mantissa) * 2**31) + (1 << _BITS)) >> (_BITS + 1)
    return min(factor, (1 << _BITS) - 1), int(shift)


def _high_product(values: Integers, factor: int) -> Integers:
    """Returns values * factor / 2^15, halves upwards."""
    products = values * factor
    nudge = np.where(products >= 0, 1 << (_BITS - 1), 1 - (1 << (_BITS - 1)))
    return np.trunc((products + nudge) / (1 << _BITS)).astype(np.int64)


def _divided(values: Integers, bits: int) -> Integers:
    """Returns values / 2^bits, halves away from 0."""
    half = (1 << bits) >> 1
    return np.sign(values) * ((np.abs(values) + half) >> bits)


def _saturated(values: Integers) -> Integers:
    return np.clip(values, -(1 << _BITS), (1 << _BITS) - 1)
