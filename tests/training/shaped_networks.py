"""Networks that reshape, enlarge and shuffle, as Keras and TensorFlow 1 write it: functions for "model": {"call"}."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

v1 = tf.compat.v1


def shuffled(images: tf.Tensor, classes: int, *, training: bool) -> keras.Model:  # noqa: ARG001
    """ShuffleNet's shuffle, squeeze and excitation, a flatten."""
    x = start = keras.Input(images.shape[1:])
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem")(x)
    x = layers.Reshape((4, 4, 2, 4), name="apart")(x)
    x = layers.Permute((1, 2, 4, 3), name="shuffle")(x)
    x = layers.Reshape((4, 4, 8), name="together")(x)
    gate = layers.Reshape((1, 1, 8), name="squeeze")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="excite")(gate)
    x = layers.Multiply(name="gate")([x, gate])
    x = layers.Flatten(name="flat")(x)
    return keras.Model(start, layers.Dense(classes, name="logits")(x), name="net")


def enlarged(images: tf.Tensor, classes: int, *, training: bool) -> keras.Model:  # noqa: ARG001
    """Both nearest upsamplings, a bilinear one, a pool that keeps its dimensions."""
    x = start = keras.Input(images.shape[1:])
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(x)
    x = layers.UpSampling2D((3, 2), name="nearest")(x)
    x = layers.Conv2D(4, 3, strides=2, activation="relu", name="between")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear", name="bilinear")(x)
    x = layers.Reshape((-1, 4), name="rows")(x)
    x = layers.UpSampling1D(2, name="sequence")(x)
    x = layers.Reshape((-1, 1, 4), name="columns")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(start, layers.Dense(classes, name="logits")(x), name="net")


def transposed(images: tf.Tensor, classes: int, *, training: bool) -> keras.Model:  # noqa: ARG001
    """A transposed convolution, whose output's shape has the batch in it."""
    x = start = keras.Input(images.shape[1:])
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="stem")(x)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu", name="up")(x)
    x = layers.Reshape((-1, 6), name="rows")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    return keras.Model(start, layers.Dense(classes, name="logits")(x), name="net")


def of_tensorflow_1(images: tf.Tensor, classes: int, *, training: bool) -> tf.Tensor:  # noqa: ARG001
    """Reshapes to tf.shape, and data that is sliced and packed."""
    x = tf.nn.relu(_conv(images, 4, "stem"))
    batch, height, width, _ = tf.unstack(tf.shape(x))
    x = tf.reshape(x, tf.stack([batch, height * width, 4]))
    x = tf.stack([x[:, 1:], x[:, :-1]], 3)
    x = tf.reshape(x, [tf.shape(x)[0], x.shape[1], 1, 8])
    x = tf.reduce_mean(_conv(x, 8, "after"), [1, 2])
    with v1.variable_scope("logits", use_resource=True):
        return tf.matmul(x, v1.get_variable("weights", [8, classes]))


def _conv(x: tf.Tensor, filters: int, scope: str) -> tf.Tensor:
    with v1.variable_scope(scope, use_resource=True):
        return tf.nn.conv2d(x, v1.get_variable("weights", [1, 1, x.shape[-1], filters]), 1, "SAME")
