"""Calibration: the values that count for a range, the methods, and refusals."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize import Options, plan_inference, rewrite_inference
from qatbuild.quantize.calibrate.calibration import calibrate
from qatbuild.quantize.calibrate.observers import observer
from qatbuild.quantize.calibrate.percentile import PercentileObserver
from tests.graph.networks import layer, v1
from tests.hints import follows

pytestmark = pytest.mark.tf

SCALES = np.array([[1.0, -2.0, 0.0]], np.float32)  # three channels of a 1x1 convolution; the last one is dead


def network(weights=SCALES, *, pool=True):
    """One image channel, a convolution to three with ReLU, a pool, a dense layer: images float32 [batch, 2, 2, 1]."""
    with tf.Graph().as_default() as graph:
        value = v1.placeholder(tf.float32, [None, 2, 2, 1], name="input")
        with v1.variable_scope("conv"):
            kernel = v1.get_variable("weights", initializer=weights.reshape(1, 1, 1, 3), use_resource=True)
            bias = v1.get_variable("biases", initializer=np.zeros(3, np.float32), use_resource=True)
            value = tf.nn.relu(tf.nn.bias_add(v1.nn.conv2d(value, kernel, padding="SAME", name="Conv2D"), bias))
        if pool:
            value = v1.nn.avg_pool(value, 2, 2, "VALID", name="pool")
        value = tf.reshape(value, [-1, 3 if pool else 12], name="flat")
        with v1.variable_scope("logits"):
            kernel = np.ones((3 if pool else 12, 2), np.float32) * [0.5, -0.25]
            kernel = v1.get_variable("weights", initializer=kernel.astype(np.float32), use_resource=True)
            bias = v1.get_variable("biases", initializer=np.zeros(2, np.float32), use_resource=True)
            logits = tf.nn.bias_add(tf.matmul(value, kernel, name="MatMul"), bias)
        tf.nn.softmax(logits, name="Softmax")
    return graph, logits.op.name


def measured(batches, *, method="min_max", percentile=None, weights=SCALES, **options):
    """Return range variable -> value of the network, calibrated on batches of images."""
    graph, logits = network(weights)
    plan = plan_inference(graph, Options(mean=0, std_dev=1, **options), input="input", logits=logits)
    with graph.as_default(), v1.Session() as session:
        session.run(v1.global_variables_initializer())
        return calibrate(session, plan, "input", lambda: iter(batches), lambda: observer(method, percentile))


def image(value):
    return np.full((1, 2, 2, 1), value, np.float32)


def range_of(values, layer, role):
    (low,) = (value for name, value in values.items() if layer in name and role in name and name.endswith("min"))
    (high,) = (value for name, value in values.items() if layer in name and role in name and name.endswith("max"))
    return np.asarray(low).tolist(), np.asarray(high).tolist()


@pytest.mark.parametrize("mode", ["integer", "tf1"])
def test_every_range_variable_of_the_rewritten_graph_gets_a_value(mode):
    graph, logits = network()
    rewrite_inference(graph, Options(mean=0, std_dev=1, mode=mode), input="input", logits=logits)
    with graph.as_default():
        ends = {each.op.name for each in v1.global_variables() if each.op.name.endswith(("/min", "/max"))}
    assert set(measured([image(3.0)], mode=mode)) == ends


def test_min_max_covers_all_images():
    values = measured([image(3.0), image(-1.0), image(1.0)])
    assert range_of(values, "conv", "act") == (0.0, 3.0)


def test_moving_average_is_the_corrected_average_of_the_batches():
    values = measured([image(3.0), image(1.0)], method="moving_average")
    wanted = (0.999 * 0.001 * 3.0 + 0.001 * 1.0) / (1 - 0.999**2)
    assert range_of(values, "conv", "act")[1] == pytest.approx(wanted)


def test_percentile_leaves_out_the_outlier():
    images = [np.linspace(0, 1, 40, dtype=np.float32).reshape(10, 2, 2, 1), image(100.0)]
    assert range_of(measured(images), "conv", "act")[1] == 100
    high = range_of(measured(images, method="percentile", percentile=90), "conv", "act")[1]
    assert 0 < high <= 1


@pytest.mark.parametrize(("scheme", "ends"), [("uint8", (-2.0, 1.0)), ("int8", (-2.0, 2.0))])
def test_weights_are_measured_by_min_max_with_every_method(scheme, ends):
    for method in ("min_max", "moving_average", "percentile"):
        values = measured([image(3.0)], method=method, percentile=95, scheme=scheme)
        assert range_of(values, "conv", "weights") == ends


def test_a_channel_of_zeros_gets_the_range_of_the_whole_layer():
    values = measured([image(3.0)], scheme="int8_per_channel")
    assert range_of(values, "conv", "weights") == ([-1.0, -2.0, -2.0], [1.0, 2.0, 2.0])


def test_ranges_always_contain_zero():
    values = measured([image(3.0)], weights=np.array([[1.0, 2.0, 3.0]], np.float32))
    assert range_of(values, "conv", "weights") == (0.0, 3.0)


def test_tensors_that_share_a_range_are_measured_together():
    """In mode integer the average pool has the range of the convolution, and not its own, smaller one."""
    batch = np.array([0, 0, 0, 8], np.float32).reshape(1, 2, 2, 1)
    graph, logits = network()
    plan = plan_inference(graph, Options(mean=0, std_dev=1), input="input", logits=logits)
    shared = [row for row in plan.quantized if row.max_variable.startswith("conv/act")]
    assert len(shared) == 2
    assert range_of(measured([batch]), "conv", "act") == (0.0, 8.0)


def test_values_that_are_not_finite_are_refused_with_tensor_and_layer():
    with pytest.raises(RewriteError, match="cannot be measured") as refused:
        measured([image(math.inf)])
    assert follows("The float network itself computes them: look at its weights") in refused.value.hint
    assert measured([image(1.0)])
    tensors = dict(refused.value.facts)
    assert any("Relu" in name for name in tensors)
    assert all("no numbers" in why for why in tensors.values())


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(RewriteError) as refused:
        measured([image(1.0)], weights=np.array([[1.0, math.inf, 0.0]], np.float32))
    assert "no numbers" in refused.value.block()


def test_layer_with_only_zeros_as_output_is_refused_by_name():
    with pytest.raises(RewriteError) as refused:
        measured([image(0.0)])
    assert "conv" in refused.value.block()
    assert "all values in the range are 0" in refused.value.block()
    assert follows("The layer gives only zeros: look at its weights; or calibrate on more images") in refused.value.hint
    assert measured([image(0.0), image(1.0)])


def test_unknown_method_is_named_with_the_methods_to_choose_from():
    with pytest.raises(RewriteError) as refused:
        observer("median")
    assert 'Unknown calibration method "median"' in refused.value.block()
    assert follows("Write one of ") in refused.value.hint
    for name in ("min_max", "moving_average", "percentile"):
        assert name in refused.value.hint
        assert observer(name, 99.0)


@pytest.mark.parametrize("percent", [50, 90, 99.99, 100])
@pytest.mark.parametrize("count", [1, 2, 7, 1000, 30_011])
def test_percentile_is_exactly_the_number_of_its_rank(percent, count):
    random = np.random.default_rng(count)
    values = (random.normal(size=count) * 10.0 ** random.integers(-3, 3, size=count)).astype(np.float32)
    values[::3] = 0
    counted = PercentileObserver(percent)
    parts = [[(part, None)] for part in np.array_split(values, 3)]
    for part in parts:
        counted.see(part)
    counted.next_pass()
    for part in parts:
        counted.see(part)
    rank, ordered = math.ceil(Fraction(str(percent)) * count / 100), np.sort(values)
    assert counted.measured() == (ordered[count - rank], ordered[rank - 1])


def test_bytes_that_the_network_scales_to_one_about_zero_get_a_zero_point_of_their_own():
    """In -1 .. 1 the zero point and all 256 sums would be halves, which kernels and FakeQuant round differently."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        value = v1.placeholder(tf.float32, [None, 4, 4, 1], name="input")
        scaled = tf.subtract(tf.multiply(value, 2 / 255, name="scaled/Mul"), 1.0, name="scaled/Sub")
        tf.identity(layer(scaled, "conv", activation="none"), name="logits")
        session.run(v1.global_variables_initializer())
        plan = plan_inference(graph, Options(mean=0, std_dev=1), input="input", logits="logits")
        batch = np.linspace(0, 255, 16, dtype=np.float32).reshape(1, 4, 4, 1)
        values = calibrate(session, plan, "input", lambda: iter([batch]))
    least, greatest = range_of(values, "scaled", "sub_quant")
    assert greatest == pytest.approx(1.0)
    assert -255 * least / (greatest - least) == pytest.approx(128)
