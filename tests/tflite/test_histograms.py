"""Histograms of real values beside the grid of a tensor."""

from __future__ import annotations

import numpy as np
import pytest

from qatbuild.worker.tflite.histograms import BINS, Accumulated
from qatbuild.worker.tflite.inspect import Tensor

GRID = Tensor("t", "uint8", (1, 4), (0.5,), (128,))
"""Real values -64 to 63.5."""


def histogram(tensor, *batches):
    accumulated = Accumulated(tensor)
    for values in batches:
        accumulated.add(np.asarray(values, np.float32))
    return accumulated.histogram()


def bin_of(made, value):
    return int((value - made.minimum) / (made.maximum - made.minimum) * BINS)


def test_a_grid_of_256_values_has_four_in_each_bin():
    made = histogram(GRID, 0.5 * (np.arange(256) - 128))
    assert (made.minimum, made.maximum) == (-64.25, 63.75)
    assert made.counts == [4] * BINS
    assert (made.scale, made.zero_point, made.bits, made.per_channel) == (0.5, 128, 8, False)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_quantized_values_are_counted_where_their_real_values_are(dtype):
    tensor = Tensor("t", dtype, (1,), (0.5,), (7,))
    codes = np.arange(256) - (128 if dtype == "int8" else 0)
    counts = np.arange(256)
    accumulated = Accumulated(tensor)
    accumulated.add_codes(counts)
    reals = np.repeat((codes - tensor.zero_points[0]) * tensor.scales[0], counts)
    assert accumulated.histogram() == histogram(tensor, reals)


def test_values_beyond_the_grid_widen_the_range_and_keep_their_places():
    made = histogram(GRID, [0.0] * 3, [100.0] * 2, [-64.0])
    assert made.minimum <= -64.25
    assert 100 < made.maximum < 110
    assert [made.counts[bin_of(made, value)] for value in (0.0, 100.0, -64.0)] == [3, 2, 1]
    assert sum(made.counts) == 6


def test_a_value_just_beyond_the_grid_costs_few_bins():
    made = histogram(GRID, [64.0])
    assert made.maximum - made.minimum < 1.1 * 128


def test_what_lies_far_beyond_counts_as_the_last_bin_and_no_number_counts_not_at_all():
    made = histogram(GRID, [1e30, np.inf, np.nan, -1e30])
    assert (made.counts[0], made.counts[-1], sum(made.counts)) == (1, 1, 2)
    assert histogram(GRID, [np.nan]) is None


def test_batches_give_what_all_values_at_once_give():
    values = np.random.default_rng(1).normal(0, 40, 200_000)
    assert histogram(GRID, *np.split(values, 20)) == histogram(GRID, values)


def test_counts_have_two_significant_digits():
    assert max(histogram(GRID, np.zeros(12_345)).counts) == 12_000


def test_channels_share_the_widest_grid():
    weights = Tensor("w", "int8", (2, 3), (0.01, 0.04), (0, 0))
    made = histogram(weights, [[1.0, -1.0, 0.0], [5.0, -5.0, 0.1]])
    assert made.per_channel
    assert made.scale == [0.01, 0.04]
    assert (made.minimum, made.maximum) == pytest.approx((-128.5 * 0.04, 127.5 * 0.04))


@pytest.mark.parametrize(("dtype", "bits"), [("int4", 4), ("int16", 16)])
def test_other_widths_have_as_many_bins(dtype, bits):
    made = histogram(Tensor("t", dtype, (1,), (0.5,), (0,)), [0.5, -1.0])
    assert made.bits == bits
    assert len(made.counts) == BINS
    assert made.maximum - made.minimum == pytest.approx(0.5 * 2**bits)
