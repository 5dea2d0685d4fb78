"""Measured ranges of hard-swishes: in these LiteRT's kernel gives what FakeQuant gives, for every quantized input."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import Options, plan_inference
from qatbuild.quantize.calibrate.calibration import calibrate
from qatbuild.quantize.calibrate.hard_swish import Grid, fake_quantized, kernel, widened
from qatbuild.quantize.calibrate.observers import MeasuredRange
from tests.graph.networks import layer, v1
from tests.tflite.flatbuffers import Wire, infer, single

pytestmark = pytest.mark.tf


def curve(reals):
    return reals * np.clip(reals + 3, 0, 6) / 6


def ranges(count):
    """Ranges of inputs, and of the outputs to them: (least, greatest) each."""
    random = np.random.default_rng(1)
    for _ in range(count):
        least, greatest = -12 * random.uniform() ** 2, 10 ** random.uniform(-1, 2.3)
        results = curve(np.linspace(least, greatest, 1000))
        yield measured(least, greatest), measured(results.min(), results.max())


def measured(least, greatest):
    return MeasuredRange(np.array(least), np.array(greatest))


def in_litert(x: Grid, y: Grid, dtype, kernels: str):
    """What LiteRT computes for all 256 inputs, as uint8."""
    low = np.iinfo(dtype).min
    codes = np.arange(low, low + 256).astype(dtype).reshape(1, -1)
    source, output = (Wire(dtype, codes.shape, [float(each.scale)], [each.zero_point + low]) for each in (x, y))
    return infer(single("HARD_SWISH", None, [source], output), [codes], kernels).astype(int).ravel() - low


@pytest.mark.parametrize("kernels", ["reference", "xnnpack"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_the_kernel_is_litert_s_to_the_bit(dtype, kernels):
    for x, y in ((Grid.of(source), Grid.of(output)) for source, output in ranges(40)):
        np.testing.assert_array_equal(kernel(x, y), in_litert(x, y, dtype, kernels))


def test_a_range_that_is_wider_by_a_hundredth_or_less_leaves_no_difference():
    differing = 0
    for source, output in ranges(100):
        x, wider = Grid.of(source), widened(source, output)
        differing += int(np.any(kernel(x, Grid.of(output)) != fake_quantized(x, Grid.of(output))))
        np.testing.assert_array_equal(kernel(x, Grid.of(wider)), fake_quantized(x, Grid.of(wider)))
        assert output.max <= wider.max < 1.016 * output.max
    assert differing > 30


def test_a_range_without_a_difference_stays_as_it_was_measured():
    settled = [(source, widened(source, output)) for source, output in ranges(10)]
    assert all(widened(source, output) == output for source, output in settled)


def test_calibration_measures_such_ranges():
    images = np.random.default_rng(2).normal(0, 2, (32, 4, 4, 4)).astype(np.float32)
    with tf.Graph().as_default() as graph, v1.Session() as session:
        value = v1.placeholder(tf.float32, [None, 4, 4, 4], name="input")
        for number in range(8):
            value = tf.keras.activations.hard_swish(layer(value, f"layer{number}", activation="none"))
        value = tf.identity(layer(value, "last", activation="none"), name="logits")
        session.run(v1.global_variables_initializer())
        plan = plan_inference(graph, Options(mean=0, std_dev=1), input="input", logits="logits")
        values = calibrate(session, plan, "input", lambda: iter([images]))
    grids = {
        role: [
            Grid.of(measured(*(np.float64(values[name]) for name in (row.min_variable, row.max_variable))))
            for row in plan.quantized
            if row.role == role
        ]
        for role in ("act_quant", "hard_swish_quant")
    }
    assert len(grids["hard_swish_quant"]) == 8
    for x, y in zip(*grids.values(), strict=False):
        np.testing.assert_array_equal(kernel(x, y), fake_quantized(x, y))
