"""Functions of a user that return Keras models: functions of images, classes and `training`."""

# ruff: noqa: ARG001  Every network is called like this.
from __future__ import annotations

import keras
import numpy as np
from keras import layers


def plain(images, classes, *, training, width=4):
    return keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            layers.Conv2D(width, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, use_bias=False),
            layers.BatchNormalization(scale=False),
            layers.ReLU(6),
            layers.Flatten(),
            layers.Dense(8),
            layers.BatchNormalization(axis=1, momentum=0.9),
            layers.Dropout(0.5),
            layers.Dense(classes, activation="softmax"),
        ],
        name="plain",
    )


def nested(images, classes, *, training):
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()])
    inner.trainable = False
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 1, name="conv2d")(x)
    x = layers.Flatten()(inner(x))
    return keras.Model(inputs, layers.Dense(classes)(x))


def mobilenet(images, classes, *, training):
    return keras.applications.MobileNetV2(images.shape[1:], weights=None, classes=classes, alpha=0.35)


def resnet50(images, classes, *, training):
    return keras.applications.ResNet50(input_shape=images.shape[1:], weights=None, classes=classes)


def given_weights(images, classes, *, training):
    model = plain(images, classes, training=training)
    for variable in model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    return model


def with_lambda(images, classes, *, training):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Lambda(lambda value: value * 2.0)(x)
    return keras.Model(inputs, layers.Dense(classes)(layers.Flatten()(x)))


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def subclassed(images, classes, *, training):
    return Subclassed()


def two_outputs(images, classes, *, training):
    inputs = keras.Input((8, 8, 3))
    net = layers.Flatten()(inputs)
    return keras.Model(inputs, [layers.Dense(classes)(net), layers.Dense(classes)(net)])


def around(layer, activation=None):
    def network(images, classes, *, training):
        return keras.Sequential(
            [keras.Input((8, 8, 3)), layer(), layers.Flatten(), layers.Dense(classes, activation=activation)]
        )

    return network


augmented = around(layers.RandomFlip)
sigmoid = around(layers.ReLU, activation="sigmoid")
wide = around(layers.ZeroPadding2D)
