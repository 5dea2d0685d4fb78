"""In training a FakeQuant is behind the max pool where this changes only the cost."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild import quantize

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
OPTIONS = quantize.Options(mean=128, std_dev=64)


def _network(activation: str, pool: tuple[int, int, str] | None, size_px: int = 8, *, twice: bool = False) -> tf.Graph:
    """Convolution, activation, max pool (size, stride, padding) and a dense layer; `twice`: a second reader."""
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(1)
        images = v1.placeholder(tf.float32, [None, size_px, size_px, 3], name="input")
        with v1.variable_scope("conv"):
            net = tf.nn.conv2d(images, _weights([3, 3, 3, 4]), 1, "SAME") + v1.get_variable("biases", [4])
            net = getattr(tf.nn, activation)(net) if activation else tf.identity(net)
        other = net
        if pool:
            net = tf.nn.max_pool2d(net, *pool, name="pool")
        net = tf.reduce_mean(net, [1, 2]) + (tf.reduce_mean(other, [1, 2]) if twice else 0.0)
        with v1.variable_scope("dense"):
            logits = tf.matmul(net, _weights([4, 5])) + v1.get_variable("biases", [5])
        tf.identity(logits, name="logits")
    return graph


def _weights(shape: list[int]) -> tf.Variable:
    return v1.get_variable("weights", shape, initializer=v1.random_normal_initializer(seed=1))


def _ranged(graph: tf.Graph) -> str:
    """The tensor in the training graph from which the range of the convolution's output is learnt."""
    report = quantize.rewrite_training(graph, OPTIONS, input="input:0", logits="logits:0")
    (row,) = (each for each in report.quantized if each.layer == "conv" and each.role == "act_quant")
    return row.tensor


@pytest.mark.parametrize(
    ("activation", "pool", "size_px", "behind"),
    [
        ("relu", (2, 2, "VALID"), 8, True),
        ("relu6", (2, 2, "VALID"), 8, True),
        ("relu", (3, 2, "SAME"), 8, True),
        ("relu", (3, 2, "VALID"), 9, True),
        ("relu", (2, 2, "VALID"), 9, False),  # leaves the last row out
        ("relu", (3, 2, "VALID"), 8, False),
        ("relu", (1, 2, "SAME"), 8, False),  # skips values
        ("", (2, 2, "VALID"), 8, False),  # the least value does not pass the pool
        ("relu", None, 8, False),
    ],
)
def test_a_rectified_layer_has_its_range_behind_a_pool_that_covers_its_output(
    activation: str, pool: tuple[int, int, str] | None, size_px: int, *, behind: bool
) -> None:
    assert (_ranged(_network(activation, pool, size_px)) == "pool:0") == behind


def test_a_layer_with_other_readers_has_its_range_in_front_of_the_pool() -> None:
    assert _ranged(_network("relu", (2, 2, "VALID"), twice=True)) != "pool:0"


def test_the_inference_graph_has_the_range_in_front_of_the_pool_and_gives_the_same_values() -> None:
    """The ranges are the same too: those of all values in front of the pool."""
    images = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32)
    training, inference = (_network("relu", (2, 2, "VALID")) for _ in range(2))
    quantize.rewrite_training(training, OPTIONS, input="input:0", logits="logits:0")
    report = quantize.rewrite_inference(inference, OPTIONS, input="input:0", logits="logits:0")
    (row,) = (each for each in report.quantized if each.layer == "conv" and each.role == "act_quant")
    assert row.tensor != "pool:0"
    with training.as_default(), v1.Session() as session:
        saver = v1.train.Saver(v1.global_variables())
        session.run(v1.global_variables_initializer())
        learnt = session.run(_output(training), {"input:0": images})
        values = {each.op.name: session.run(each) for each in saver._var_list}  # noqa: SLF001 - what it would save
    with inference.as_default(), v1.Session() as session:
        for variable in v1.global_variables():
            variable.load(values[variable.op.name], session)
        inferred, before = session.run([_output(inference), row.tensor], {"input:0": images})
    np.testing.assert_allclose(learnt, inferred, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        values[row.max_variable], before.max(), rtol=1e-4
    )  # the average is corrected for its start up to rounding
    assert values[row.min_variable] == before.min() == 0


def _output(graph: tf.Graph) -> tf.Tensor:
    """The fake-quantized logits."""
    return graph.get_tensor_by_name("logits:0").op.inputs[0]
