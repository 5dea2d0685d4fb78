"""The network of the project: one for digits, that can be broken in several ways, and one of two results."""

from __future__ import annotations

import tensorflow as tf

from qatbuild.worker.models import layers

v1 = tf.compat.v1


def small(images, classes, *, training, fault=""):
    """Two convolutions, one dense layer of 32 units, logits."""
    normed = layers.batch_norm(training=training, decay=0.995) if fault == "unsettled" else None
    with v1.variable_scope("Small"):
        dead = _first_channel(-100.0) if fault == "heavy weights" else None
        net = layers.conv(images, 8, 3, scope="conv1", bias=None, norm=dead)
        weights = _with_heavy_first(layers.variance_scaling()) if fault == "heavy weights" else None
        loud = _first_channel(600.0) if fault == "loud channel" else normed
        net = layers.conv(net, 17, 3, scope="conv2", bias=None, norm=loud, weights=weights)[..., 1:]
        net = layers.flatten(layers.max_pool(net, 2, scope="pool"))
        if fault == "biased":  # As tf.contrib.quantize wants it.
            net = layers.dense(net, 32, scope="fc3")
            return layers.dense(net, classes, scope="logits", activation=None)
        net = tf.nn.relu(_product(net, 32, "fc3"))
        return _product(net, classes, "logits")


def two_results(images, size, *, training):
    """A learnt value of about 0..1 beside the sum of all pixels: [batch, 2]."""
    del size, training
    with v1.variable_scope("Two"):
        net = layers.flatten(layers.max_pool(layers.conv(images, 8, 3, scope="conv1"), 2, scope="pool"))
        value = layers.dense(layers.dense(net, 32, scope="fc2"), 1, scope="value", activation=None)
        total = tf.reduce_mean(layers.flatten(images, scope="all"), 1, keepdims=True, name="mean") * 1000.0
        return tf.concat([value, total], 1, name="joined")


def _product(net, units, scope):
    with v1.variable_scope(scope, use_resource=True):
        kernel = v1.get_variable("weights", [net.shape[-1], units], tf.float32, layers.variance_scaling())
        return tf.matmul(net, kernel, name="MatMul")


def _first_channel(value):
    """A bias that begins with `value`, and with 0 for the other channels."""

    def add(net):
        initial = tf.constant([value, *[0.0] * (int(net.shape[-1]) - 1)])
        biases = v1.get_variable("first", initializer=initial)
        return tf.nn.bias_add(net, biases, name="BiasAdd")

    return add


def _with_heavy_first(usual):
    """Weights of which those from the first input channel to the first output channel are 90."""

    def initial(shape, dtype=tf.float32, **_):
        values = usual(shape, dtype)
        first = tf.one_hot(0, shape[2])[:, None] * tf.one_hot(0, shape[3])[None, :]
        return values * (1 - first) + 90.0 * first

    return initial
