"""The batch norms that an evaluation finds are those that a rewrite finds."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize.batch_norm.find import BatchNorm, find_batch_norms
from qatbuild.worker.tflite.batch_norms import batch_norms

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
CHANNELS = 3


def vector(name):
    return tf.constant(np.arange(1, 1 + CHANNELS, dtype=np.float32), name=name)


def fused(x):
    return v1.nn.fused_batch_norm(
        x, vector("gamma"), vector("beta"), vector("mean"), vector("variance"), is_training=False
    )[0]


def unfused(x):
    return tf.nn.batch_normalization(x, vector("mean"), vector("variance"), vector("beta"), vector("gamma"), 1e-3)


def without_gamma(x):
    return tf.nn.batch_normalization(x, vector("mean"), vector("variance"), vector("beta"), None, 1e-3)


def without_beta(x):
    return tf.nn.batch_normalization(x, vector("mean"), vector("variance"), None, vector("gamma"), 1e-3)


@pytest.mark.parametrize("form", [fused, unfused, without_gamma, without_beta])
def test_a_batch_norm_behind_a_layer_has_the_input_and_averages_that_a_rewrite_sees(form):
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, 4, 4, 2], name="images")
        weights = tf.constant(np.ones((1, 1, 2, CHANNELS), np.float32))
        tf.nn.relu(form(tf.nn.conv2d(images, weights, 1, "SAME")))
    (expected,) = find_batch_norms(graph, training=False, as_tf1=False)
    assert isinstance(expected, BatchNorm)
    (norm,) = batch_norms(graph)
    assert (norm.x.name, norm.mean.name, norm.variance.name, norm.result.name) == (
        expected.x.name, expected.mean.name, expected.variance.name, expected.result.name,
    )  # fmt: skip


def test_other_products_with_a_reciprocal_root_are_none():
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, CHANNELS])
        length = tf.reduce_sum(tf.square(images), axis=1, keepdims=True)
        tf.nn.relu(images * tf.math.rsqrt(length + 1e-6) + vector("shift"))
        tf.nn.relu(images * tf.math.rsqrt(vector("variance") + 1e-6))
    assert batch_norms(graph) == []
