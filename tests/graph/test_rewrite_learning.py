"""Ranges are learnt, quantization begins after the delay, and a network trains through its FakeQuants."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import create_eval_graph, create_training_graph, experimental_create_training_graph
from qatbuild.worker.tflite.affine import fake_quantize, quant_params
from tests.graph.networks import images, layer, v1, variable

pytestmark = pytest.mark.tf


def dense(quant_delay=0, create=create_training_graph, **options):
    """x [4, 3] -> x W -> ReLU -> probe; the probe reads the tensor that the rest of a network would read."""
    with tf.Graph().as_default() as graph:
        value = images((4, 3))
        hidden = tf.nn.relu(tf.matmul(value, variable("weights", [3, 2], "ref"), name="net/MatMul"), name="net/Relu")
        tf.negative(hidden, name="probe")
        create(graph, quant_delay=quant_delay, **options)
        session = v1.Session(graph=graph)
        session.run(v1.global_variables_initializer())
    return session


def run(session, batch):
    """Return the layer's output, and the fake-quantized or delayed output."""
    raw, negated = session.run(["net/Relu:0", "probe:0"], {"input:0": batch})
    return raw, -negated


def batches(count, seed=0):
    random = np.random.default_rng(seed)
    return [(scale + 1) * random.normal(size=[4, 3]).astype(np.float32) for scale in range(count)]


def ranges(session, prefix="net/act_quant"):
    return np.asarray(session.run([f"{prefix}/min:0", f"{prefix}/max:0"]))


def test_activation_ranges_are_the_average_of_all_steps_corrected_for_the_start():
    session = dense()
    observed = [run(session, batch)[0] for batch in batches(5)]
    rates = 0.001 * 0.999 ** np.arange(4, -1, -1)
    expected = rates @ [each.max() for each in observed] / (1 - 0.999**5)
    np.testing.assert_allclose(ranges(session), [0, expected], rtol=1e-4)


def test_first_step_sets_the_range_to_its_own_values():
    session = dense()
    raw, _ = run(session, batches(1)[0])
    np.testing.assert_allclose(ranges(session), [0, raw.max()], rtol=1e-4)


def test_weight_ranges_are_those_of_the_current_weights():
    session = dense()
    weights = session.graph.get_tensor_by_name("weights:0")
    for factor in (1, 10, 0.1):
        values = np.float32(factor) * np.array([[1, 2], [-3, 0.5], [0.25, -1]], np.float32)
        with session.graph.as_default():
            session.run(tf.raw_ops.Assign(ref=weights, value=values))
        run(session, batches(1)[0])
        np.testing.assert_array_equal(ranges(session, "net/weights_quant"), [values.min(), values.max()])


def test_range_always_contains_zero():
    session = dense()
    with session.graph.as_default():
        session.run(tf.raw_ops.Assign(ref=session.graph.get_tensor_by_name("weights:0"), value=np.full([3, 2], 0.5)))
    run(session, batches(1)[0])
    np.testing.assert_array_equal(ranges(session, "net/weights_quant"), [0, 0.5])


def test_symmetric_ranges_have_min_equal_to_minus_max():
    session = dense(create=experimental_create_training_graph, symmetric=True)
    raw, _ = run(session, batches(1)[0])
    low, high = ranges(session, "net/weights_quant")
    assert low == -high
    np.testing.assert_allclose(ranges(session), [-raw.max() * 256 / 254, raw.max()], rtol=1e-3)


@pytest.mark.parametrize("quant_delay", [0, 1, 3])
def test_quantization_begins_at_the_step_of_the_delay(quant_delay):
    session = dense(quant_delay)
    for step, batch in enumerate(batches(5), start=1):
        raw, seen = run(session, batch)
        params = quant_params(*ranges(session))
        expected = fake_quantize(raw, params) if step >= quant_delay else raw
        np.testing.assert_allclose(seen, expected, rtol=1e-6)
        assert not np.array_equal(raw, fake_quantize(raw, params))


def test_ranges_learn_before_quantization_begins():
    learning, delayed = dense(), dense(quant_delay=1000)
    weights = learning.run("weights:0")
    with delayed.graph.as_default():
        delayed.run(tf.raw_ops.Assign(ref=delayed.graph.get_tensor_by_name("weights:0"), value=weights))
    for batch in batches(3):
        run(delayed, batch)
    assert ranges(delayed)[1] not in (0, 6)
    np.testing.assert_allclose(ranges(delayed, "net/weights_quant"), [weights.min(), weights.max()], rtol=1e-6)


def test_step_counts_runs_of_the_graph_once_each():
    session = dense(quant_delay=3)
    for count, batch in enumerate(batches(4), start=1):
        run(session, batch)
        assert session.run("fake_quantization_step:0") == count


def test_without_a_delay_the_graph_has_no_counter_and_no_conditional():
    names = [each.name for each in dense().graph.get_operations()]
    assert not [name for name in names if "fake_quantization_step" in name or "delayed_quant" in name]


def test_delay_selects_the_tensor_itself_or_its_fake_quant():
    graph = dense(quant_delay=3).graph
    merge = graph.get_operation_by_name("net/act_quant/delayed_quant/Merge")
    assert [tensor.op.inputs[0].name for tensor in merge.inputs] == [
        "net/Relu:0", "net/act_quant/FakeQuantWithMinMaxVars:0",
    ]  # fmt: skip
    assert not [each.type for each in graph.get_operations() if each.type in ("If", "StatelessIf")]


@pytest.mark.parametrize("quant_delay", [0, 1])
def test_gradient_goes_straight_through(quant_delay):
    with tf.Graph().as_default() as graph, v1.Session() as session:
        weights = v1.get_variable("weights", [3, 1], initializer=v1.constant_initializer([-1, 0.3, 1]))
        out = tf.nn.bias_add(tf.matmul(images((1, 3)), weights, name="net/MatMul"), [0.0], name="net/BiasAdd")
        loss = tf.reduce_sum(out)
        create_training_graph(graph, quant_delay)
        gradient = tf.gradients(loss, weights)[0]
        session.run(v1.global_variables_initializer())
        # The output is the maximum of its own range, and the weights are within theirs: nothing is clamped.
        values = session.run(gradient, {"input:0": [[1, 2, 4]]})
    np.testing.assert_allclose(values, [[1], [2], [4]])


@pytest.mark.parametrize("variables", ["ref", "resource"])
@pytest.mark.parametrize("quant_delay", [0, 20])
@pytest.mark.parametrize("kind", ["conv", "depthwise"])
def test_network_trains_through_its_fake_quants(kind, quant_delay, variables):
    random = np.random.default_rng(3)
    batch, labels = random.normal(size=[16, 6, 6, 3]).astype(np.float32), random.integers(0, 2, 16)
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.set_random_seed(1)
        value = layer(images((16, 6, 6, 3)), "first", kind, variables=variables)
        value = tf.reshape(value, [16, -1])
        logits = layer(value, "logits", "dense", activation="none", variables=variables, channels=2)
        loss = v1.losses.sparse_softmax_cross_entropy(labels, logits)
        create_training_graph(graph, quant_delay)
        train = v1.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run(v1.global_variables_initializer())
        losses = [session.run([loss, train], {"input:0": batch})[0] for _ in range(40)]
    assert losses[-1] < 0.3 * losses[0]


def test_eval_graph_takes_the_training_graphs_checkpoint(tmp_path):
    session = dense(quant_delay=2)
    for batch in batches(3):
        trained = run(session, batch)[1]
    with session.graph.as_default():
        v1.train.Saver().save(session, str(tmp_path / "model"))
    with tf.Graph().as_default() as graph, v1.Session() as evaluation:
        hidden = tf.nn.relu(tf.matmul(images((4, 3)), variable("weights", [3, 2]), name="net/MatMul"), name="net/Relu")
        tf.negative(hidden, name="probe")
        create_eval_graph(graph)
        v1.train.Saver().restore(evaluation, str(tmp_path / "model"))
        np.testing.assert_allclose(run(evaluation, batches(3)[-1])[1], trained, rtol=1e-6)


SCRIPT = """
import tensorflow as tf
from qatbuild.quantize import create_training_graph
v1 = tf.compat.v1
v1.disable_v2_behavior()
x = v1.placeholder(tf.float32, [2, 3])
loss = tf.reduce_sum(tf.nn.relu(tf.matmul(x, v1.get_variable("weights", [3, 4]))))
create_training_graph(quant_delay=2)
train = v1.train.GradientDescentOptimizer(0.1).minimize(loss)
with v1.Session() as session:
    session.run(v1.global_variables_initializer())
    for _ in range(3):
        session.run(train, {x: [[1, 2, 3], [4, 5, 6]]})
    print("steps", session.run("fake_quantization_step:0"))
"""


def test_process_with_v2_behavior_off():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "steps 3", done.stderr
