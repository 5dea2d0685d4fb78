"""MobileNet v1 for small images: depthwise separable convolutions, batch norm, ReLU6, slim's names."""

from __future__ import annotations

import tensorflow as tf

from qatbuild.worker.models import layers

v1 = tf.compat.v1

_SEPARABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1),
)  # fmt: skip
"""Filters of each pointwise convolution, and the stride of the depthwise one before it."""


def mobilenet(images: tf.Tensor, classes: int, *, training: bool, width: float = 1.0) -> tf.Tensor:
    """One convolution and 13 separable ones, 32 to 1024 filters times `width`: logits float32 [batch, classes].

    Howard et al. 2017, arXiv:1704.04861, table 1, but with stride 1 in the first convolution: `images`, float32
    [batch, height, width, channels], at least 16x16, have 32x32 pixels where ImageNet's have 224x224. Every layer has
    at least 8 filters.
    """
    layers.require_pixels(images, network="mobilenet", least_px=16)
    norm = layers.batch_norm(training=training)

    def filters(full: int) -> int:
        return max(8, round(full * width))

    with v1.variable_scope("MobilenetV1"):
        net = layers.conv(images, filters(32), 3, scope="Conv2d_0", activation=tf.nn.relu6, bias=None, norm=norm)
        for number, (full, stride) in enumerate(_SEPARABLE, start=1):
            net = layers.depthwise(net, 3, scope=f"Conv2d_{number}_depthwise", stride=stride, bias=None, norm=norm)
            point = {"scope": f"Conv2d_{number}_pointwise", "activation": tf.nn.relu6}
            net = layers.conv(net, filters(full), 1, bias=None, norm=norm, **point)
        net = layers.global_average_pool(net, scope="pool")
        net = layers.dropout(layers.flatten(net), 0.9, training=training, scope="dropout")
        return layers.dense(net, classes, scope="Logits", activation=None, weights=layers.truncated_normal(0.09))
