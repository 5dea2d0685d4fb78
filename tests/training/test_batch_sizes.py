"""Batches of validation and calibration are as large as their tensors allow."""

from __future__ import annotations

import pytest
import tensorflow as tf

from qatbuild.worker import graph_outputs
from qatbuild.worker.stages import calibrate

pytestmark = pytest.mark.tf

v1 = tf.compat.v1


@pytest.fixture
def graph() -> tf.Graph:
    """A picture of 8x8 and its sums in 16 channels; beside them weights, which every batch has once."""
    with tf.Graph().as_default() as made:
        picture = v1.placeholder(tf.uint8, [None, 8, 8, 1], name="picture")
        weights = tf.zeros([1, 1, 1, 4096], name="weights")
        tf.multiply(tf.cast(picture, tf.float32), weights[..., :16], name="sums")
        v1.placeholder(tf.float32, [None, None, 10**6], name="unknown")
    return made


def test_the_largest_tensor_of_an_example_decides_the_size_of_a_validation_batch(graph: tf.Graph) -> None:
    assert graph_outputs.largest_bytes(graph) == 8 * 8 * 16 * 4


def test_observed_tensors_together_decide_the_size_of_a_calibration_batch(
    graph: tf.Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed = ["picture:0", "sums:0", "weights:0"]
    assert calibrate.batch_size(graph, observed) == calibrate.BATCH
    for batch in (5, 1):
        monkeypatch.setattr(calibrate, "_BATCH_BYTES", batch * 4 * 8 * 8 * (16 + 1))
        assert calibrate.batch_size(graph, observed) == batch
    monkeypatch.setattr(calibrate, "_BATCH_BYTES", 1)
    assert calibrate.batch_size(graph, observed) == 1
