"""LeNet, for images like MNIST's: slim's names, shapes and initial values (tensorflow/models d4e1f97)."""

from __future__ import annotations

import tensorflow as tf

from qatbuild.worker.models import layers


def lenet(images: tf.Tensor, classes: int, *, training: bool) -> tf.Tensor:
    """Builds convolutions 5x5x32 and 5x5x64 with pools, 1024 units; returns logits, float32 [batch, classes].

    `images` is float32 [batch, height, width, channels], at least 8x8; designed for 28x28x1.
    """
    layers.require_pixels(images, network="lenet", least_px=8)
    initial = layers.truncated_normal(0.1)
    with tf.compat.v1.variable_scope("LeNet"):
        net = layers.conv(images, 32, 5, scope="conv1", weights=initial)
        net = layers.max_pool(net, 2, scope="pool1")
        net = layers.conv(net, 64, 5, scope="conv2", weights=initial)
        net = layers.max_pool(net, 2, scope="pool2")
        net = layers.flatten(net)
        net = layers.dense(net, 1024, scope="fc3", weights=initial)
        net = layers.dropout(net, 0.5, training=training, scope="dropout3")
        return layers.dense(net, classes, scope="fc4", activation=None, weights=initial)
