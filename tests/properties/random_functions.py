"""Random small networks of TensorFlow 1, each from a seed: functions for "model": {"call"} that return logits."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qatbuild.worker.models import layers

v1 = tf.compat.v1
Network = Callable[[tf.Tensor], tf.Tensor]

BLOCKS = 6
"""The most blocks; their scopes are block0, block1, ..."""

_MOST_VALUES = 4096
"""Values of one image in any tensor: larger ones only take time."""


def of_tensorflow(images: tf.Tensor, classes: int, *, training: bool, seed: int) -> tf.Tensor:
    """Two to six random blocks within scopes of their own, each of a layer and one or two other operations."""
    draw = Draw(seed, training=training)
    x = images
    for number in range(draw.random.randint(2, BLOCKS)):
        with v1.variable_scope(f"block{number}", use_resource=True):
            x = draw.layer(x)
            for _ in range(draw.random.randint(0, 2)):
                x = draw.random.choice(draw.operations(x))(x)
    x = tf.reshape(x, [-1, int(np.prod(x.shape[1:]))])
    return layers.dense(x, classes, scope="logits", activation=None)


class Draw:
    """Random operations on images [batch, height, width, channels]."""

    def __init__(self, seed: int, *, training: bool) -> None:
        self.random = random.Random(seed)
        self.training = training
        self._count = 0

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def variable(self, name: str, shape: list[int], low: float = -1.0, high: float = 1.0) -> tf.Variable:
        start = v1.random_uniform_initializer(low, high, seed=self.random.randint(1, 999))
        self._count += 1
        return v1.get_variable(f"{name}{self._count}", shape, initializer=start)

    def weights(self, shape: list[int], fan_in: int) -> tf.Variable:
        end = (3 / fan_in) ** 0.5
        return self.variable("weights", shape, -end, end)

    def layer(self, x: tf.Tensor) -> tf.Tensor:
        """A convolution or a dense layer, with or without bias, batch norm and activation."""
        made = self.random.choice([self.conv, self.conv, self.depthwise, self.transposed, self.dense])
        x = made(x)
        if made == self.dense:
            return x
        rest: list[Network] = [self.biased] if self.chance(0.5) else []
        if self.chance(0.4):
            rest.append(self.normalized)
        rest.append(self.random.choice([tf.nn.relu, tf.nn.relu6, tf.identity, self.activated]))
        for each in rest:
            x = each(x)
        return x

    def conv(self, x: tf.Tensor) -> tf.Tensor:
        height, width, inputs = x.shape[1:]
        size, filters = self.random.choice([1, 2, 3]), self.random.choice([2, 4, 8])
        strides, dilations = self.random.choice([(1, 1), (2, 1), (1, 2)])
        padding = "VALID" if self.chance(0.3) and min(height, width) > 2 * size else "SAME"
        kernel = self.weights([size, size, inputs, filters], size * size * inputs)
        return tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations)

    def depthwise(self, x: tf.Tensor) -> tf.Tensor:
        size, multiplier, stride = self.random.choice([2, 3]), self.random.choice([1, 1, 2]), self.random.choice([1, 2])
        kernel = self.weights([size, size, x.shape[-1], multiplier], size * size)
        return tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME")

    def transposed(self, x: tf.Tensor) -> tf.Tensor:
        height, width, inputs = x.shape[1:]
        if height * width * 16 > _MOST_VALUES:
            return self.conv(x)
        kernel = self.weights([3, 3, 4, inputs], 9 * inputs)
        return tf.nn.conv2d_transpose(x, kernel, [tf.shape(x)[0], 2 * height, 2 * width, 4], 2, "SAME")

    def dense(self, x: tf.Tensor) -> tf.Tensor:
        features = int(np.prod(x.shape[1:]))
        x = tf.matmul(tf.reshape(x, [-1, features]), self.weights([features, 16], features))
        return tf.reshape(tf.nn.relu(self.biased(x)), [-1, 2, 2, 4])

    def biased(self, x: tf.Tensor) -> tf.Tensor:
        biases = self.variable("biases", [x.shape[-1]], -0.3, 0.3)
        return tf.nn.bias_add(x, biases) if self.chance(0.7) else x + biases

    def normalized(self, x: tf.Tensor) -> tf.Tensor:
        return layers.batch_norm(training=self.training)(x)

    def activated(self, x: tf.Tensor) -> tf.Tensor:
        common: list[Network] = [
            tf.nn.leaky_relu, tf.sigmoid, tf.tanh, tf.nn.silu, lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
            lambda x: tf.nn.relu6(x + 3.0) * (1 / 6), tf.nn.softmax,
            lambda x: tf.maximum(x, 0.2 * x), lambda x: tf.nn.relu(x) - 0.25 * tf.nn.relu(-x),
        ]  # fmt: skip
        rare: list[Network] = [
            tf.nn.elu, tf.nn.softplus, tf.nn.selu, tf.abs, tf.square, lambda x: x * x, lambda x: tf.add_n([x, x, x]),
            lambda x: tf.tile(x, [1, 1, 2, 1]), lambda x: tf.reverse(x, [3]),
            lambda x: tf.unstack(x, axis=3)[0][..., tf.newaxis],
        ]  # fmt: skip
        return self.random.choice(rare if self.chance(0.05) else common)(x)

    def operations(self, x: tf.Tensor) -> list[Network]:
        """What may come behind a layer."""
        height, width, channels = x.shape[1:]
        return [
            self.activated,
            *self.pools(x),
            *self.moves(x),
            self.random.choice(self.arithmetic(channels)),
            lambda x: x + tf.nn.conv2d(x, self.weights([1, 1, channels, channels], channels), 1, "SAME"),
            lambda x: tf.concat([x, tf.nn.relu6(x)], 3),
            lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], width, height, channels])),
        ]

    def arithmetic(self, channels: int) -> list[Network]:
        number = self.random.choice([0.5, 2.0, -1.0, 3.0])
        return [
            lambda x: x * number,
            lambda x: x + number,
            lambda x: number - x,
            lambda x: x / 3.0,
            lambda x: -x,
            lambda x: x * self.variable("scale", [channels], 0.5, 2.0),
            lambda x: x - self.variable("shift", [channels]),
            lambda x: x * tf.sigmoid(tf.reduce_mean(x, [1, 2], keepdims=True)),
            lambda x: tf.maximum(x, x[..., ::-1]),
            lambda x: tf.minimum(x, tf.nn.relu(x) * 0.5),
        ]

    def pools(self, x: tf.Tensor) -> list[Network]:
        size, stride = self.random.choice([2, 3]), self.random.choice([1, 2])
        if min(x.shape[1:3]) < 3:
            return [lambda x: tf.reduce_mean(x, [1, 2], keepdims=True), lambda x: tf.reduce_max(x, [1, 2], True)]
        return [
            lambda x: tf.nn.max_pool2d(x, size, stride, "SAME"),
            lambda x: tf.nn.avg_pool2d(x, size, stride, "VALID"),
            lambda x: tf.nn.avg_pool2d(x, size, stride, "SAME"),
        ]

    def moves(self, x: tf.Tensor) -> list[Network]:
        """Operations that move values."""
        height, width, channels = x.shape[1:]
        sides = [[0, 0], [1, 1], [0, 2], [0, 0]]
        made: list[Network] = [
            lambda x: tf.pad(x, sides),
            lambda x: tf.pad(x, sides, constant_values=0.5),
            lambda x: tf.transpose(x, [0, 2, 1, 3]),
            lambda x: tf.concat([x[..., 1:], x[..., :1]], 3) if channels > 1 else x,
            lambda x: tf.concat(tf.split(x, channels, 3)[::-1], 3) if channels > 1 else x,
            lambda x: tf.squeeze(tf.expand_dims(x, 1), [1]),
            lambda x: tf.gather(x, [0, channels - 1, 0], axis=3),
            lambda x: tf.stack(tf.unstack(x, axis=3) * 2, 3),
        ]
        if min(height, width) > 3:
            made.append(lambda x: x[:, 1:, ::2])
            made.append(
                lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], self.random.choice(["REFLECT", "SYMMETRIC"]))
            )
        if height % 2 == 0 and width % 2 == 0:
            made.append(lambda x: tf.nn.space_to_depth(x, 2))
        if channels % 4 == 0 and self.chance(0.2):
            made.append(lambda x: tf.nn.depth_to_space(x, 2))
        if height * width * channels * 4 < _MOST_VALUES:
            made.append(lambda x: tf.image.resize(x, [2 * height, 2 * width], "nearest"))
            made.append(lambda x: tf.image.resize(x, [2 * height, 2 * width], "bilinear"))
        return made
