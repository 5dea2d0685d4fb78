"""Core ML's weights go back to the TensorFlow layers they came from, whatever their order and their batch norms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.worker import graph_def
from qatbuild.worker.deploy import coreml_weights
from qatbuild.worker.deploy.coreml_weights import Weights

v1 = tf.compat.v1
pytestmark = pytest.mark.tf


def weights(exact: np.ndarray) -> Weights:
    """Rounded as by 8 bits: each is off by a hundredth of the largest."""
    step = np.abs(exact).reshape(len(exact), -1).max(1) / 100
    return Weights(exact, exact + step.reshape(-1, *[1] * (exact.ndim - 1)), step)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A convolution, a depthwise one and a dense layer."""
    random = np.random.default_rng(1)
    with tf.Graph().as_default() as made:
        images = v1.placeholder(tf.float32, [1, 8, 8, 3], name="input")
        net = v1.nn.conv2d(images, random.normal(size=(3, 3, 3, 4)).astype("f"), padding="SAME", name="a")
        net = v1.nn.depthwise_conv2d_native(
            net, random.normal(size=(3, 3, 4, 2)).astype("f"), [1] * 4, "SAME", name="b"
        )
        tf.matmul(tf.reshape(net, [1, -1]), random.normal(size=(512, 5)).astype("f"), name="c")
    path = tmp_path / "graph.pb"
    path.write_bytes(made.as_graph_def().SerializeToString())
    return path


def constants(definition: Any) -> list[np.ndarray]:
    return [each for node in definition.node if node.op == "Const" and (each := graph_def.constant(node)).ndim > 1]


def test_weights_are_matched_in_any_order_and_a_batch_norm_s_factor_is_taken_out(graph: Path) -> None:
    conv, depthwise, dense = constants(graph_def.read(graph))
    factor = np.array([2, -0.5, 1, 3], np.float32).reshape(4, 1, 1, 1)
    theirs = [
        weights(dense.T),
        weights(conv.transpose(3, 2, 0, 1) * factor),
        weights(depthwise.transpose(2, 3, 0, 1).reshape(8, 1, 3, 3)),
    ]
    definition = coreml_weights.put_into(graph, {str(index): each for index, each in enumerate(theirs)})
    for ours, back in zip((conv, depthwise, dense), constants(definition), strict=True):
        assert back.shape == ours.shape
        assert 0 < np.abs(back - ours).max() <= np.abs(ours).max() / 99


def test_weights_of_another_network_are_no_match(graph: Path) -> None:
    conv, depthwise, dense = constants(graph_def.read(graph))
    others = [conv.transpose(3, 2, 0, 1)[::-1], depthwise.transpose(2, 3, 0, 1).reshape(8, 1, 3, 3), dense.T]
    assert coreml_weights.put_into(graph, {str(i): weights(np.array(each)) for i, each in enumerate(others)}) is None
    assert coreml_weights.put_into(graph, {}) is None


def test_error_is_measured_in_steps_of_the_channel() -> None:
    exact = np.array([[1.0, 2.0], [100.0, 200.0]], np.float32)
    rounded = Weights(exact, exact + np.array([[0.5], [2.0]], np.float32), np.array([1.0, 2.0], np.float32))
    assert rounded.error_steps == 1
