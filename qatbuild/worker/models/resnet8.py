"""ResNet-8, MLPerf Tiny's image classification network for CIFAR-10 (mlcommons/tiny 1afd2c98, keras_model.py)."""

from __future__ import annotations

import tensorflow as tf

from qatbuild.worker.models import layers

v1 = tf.compat.v1


def resnet8(images: tf.Tensor, classes: int, *, training: bool) -> tf.Tensor:
    """Convolution 3x3x16 and three residual blocks of 16, 32 and 64 filters: logits float32 [batch, classes].

    `images` is float32 [batch, height, width, channels], at least 8x8; 32x32x3 is what it was made for. Convolutions
    have a bias and, but for those in the shortcuts, a batch norm: He et al. 2015, arXiv:1512.03385.
    """
    layers.require_pixels(images, network="resnet8", least_px=8)
    with v1.variable_scope("ResNet8"):
        net = layers.conv(images, 16, 3, scope="conv1", norm=layers.batch_norm(training=training))
        net = _block(net, 16, scope="block1", stride=1, training=training)
        net = _block(net, 32, scope="block2", stride=2, training=training)
        net = _block(net, 64, scope="block3", stride=2, training=training)
        net = layers.global_average_pool(net, scope="pool")
        return layers.dense(layers.flatten(net), classes, scope="logits", activation=None)


def _block(net: tf.Tensor, filters: int, *, scope: str, stride: int, training: bool) -> tf.Tensor:
    """Two convolutions, the input (through a 1x1 convolution where the shape changes) added, ReLU."""
    norm = layers.batch_norm(training=training)
    with v1.variable_scope(scope):
        inner = layers.conv(net, filters, 3, scope="conv1", stride=stride, norm=norm)
        inner = layers.conv(inner, filters, 3, scope="conv2", norm=norm, activation=None)
        if stride > 1 or net.shape[-1] != filters:
            net = layers.conv(net, filters, 1, scope="shortcut", stride=stride, activation=None)
        return tf.nn.relu(tf.add(net, inner, name="add"), name="Relu")
