"""CifarNet, the network of the 2018 guide: slim's names, shapes and initial values (tensorflow/models d4e1f97)."""

from __future__ import annotations

import tensorflow as tf

from qatbuild.worker.models import layers

HINTS = {"LRN": '"lrn": false'}


def cifarnet(images: tf.Tensor, classes: int, *, training: bool, lrn: bool = False) -> tf.Tensor:
    """Builds two convolutions 5x5x64 with pools, 384 and 192 units; returns logits, float32 [batch, classes].

    `images` is float32 [batch, height, width, channels], at least 8x8. `lrn` adds slim's two local response
    normalizations, which have no 8-bit form: such a network can be trained in float only.
    """
    layers.require_pixels(images, network="cifarnet", least_px=8)
    small = layers.truncated_normal(0.05)
    with tf.compat.v1.variable_scope("CifarNet"):
        net = layers.conv(images, 64, 5, scope="conv1", weights=small)
        net = layers.max_pool(net, 2, scope="pool1")
        net = _normalize(net, "norm1") if lrn else net
        net = layers.conv(net, 64, 5, scope="conv2", weights=small)
        net = _normalize(net, "norm2") if lrn else net
        net = layers.max_pool(net, 2, scope="pool2")
        net = layers.flatten(net)
        net = layers.dense(net, 384, scope="fc3", weights=layers.truncated_normal(0.04), bias=0.1)
        net = layers.dropout(net, 0.5, training=training, scope="dropout3")
        net = layers.dense(net, 192, scope="fc4", weights=layers.truncated_normal(0.04), bias=0.1)
        last = layers.truncated_normal(1 / 192)
        return layers.dense(net, classes, scope="logits", activation=None, weights=last)


def _normalize(net: tf.Tensor, name: str) -> tf.Tensor:
    """Applies local response normalization with slim's constants; Krizhevsky et al. 2012, section 3.3."""
    return tf.nn.lrn(net, 4, bias=1.0, alpha=0.001 / 9.0, beta=0.75, name=name)
