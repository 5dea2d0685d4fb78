"""DigitsNet: a small network for 8x8 digits, trained in seconds, with every kind of layer of the rewrite."""

from __future__ import annotations

import tensorflow as tf

from qatbuild.worker.models import layers


def digitsnet(images: tf.Tensor, classes: int, *, training: bool) -> tf.Tensor:
    """Builds conv 3x3x16, depthwise 3x3, conv 1x1x32, pool, 64 units; returns logits, float32 [batch, classes].

    `images` is float32 [batch, height, width, channels], at least 4x4; designed for 8x8x1.
    """
    layers.require_pixels(images, network="digitsnet", least_px=4)
    with tf.compat.v1.variable_scope("DigitsNet"):
        net = layers.conv(images, 16, 3, scope="conv1")
        net = layers.depthwise(net, 3, scope="conv2_depthwise")
        net = layers.conv(net, 32, 1, scope="conv2_pointwise")
        net = layers.max_pool(net, 2, scope="pool2")
        net = layers.flatten(net)
        net = layers.dense(net, 64, scope="fc3")
        net = layers.dropout(net, 0.5, training=training, scope="dropout3")
        return layers.dense(net, classes, scope="logits", activation=None, weights=layers.truncated_normal(0.05))
