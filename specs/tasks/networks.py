"""A small network for each task, as functions that return Keras models."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


def perceptron(inputs: Any, outputs: int | None, *, training: bool, units: int = 32, values: int = 1) -> keras.Model:  # noqa: ARG001
    """Return two hidden layers for a vector of real values; `values` outputs where the task leaves it open."""
    source = keras.Input(inputs.shape[1:], name="features")
    net = layers.Dense(units, "relu", name="hidden1")(source)
    net = layers.Dense(units, "relu", name="hidden2")(net)
    return keras.Model(source, layers.Dense(outputs or values, name="values")(net), name="perceptron")


def listener(inputs: Any, outputs: int, *, training: bool) -> keras.Model:  # noqa: ARG001
    """Return convolutions along a series, each of half the length."""
    source = keras.Input(inputs.shape[1:], name="values")
    net = source
    for number, filters in enumerate((16, 32, 64), start=1):
        net = layers.Conv1D(filters, 7, 2, "same", use_bias=False, name=f"conv{number}")(net)
        net = layers.BatchNormalization(momentum=0.95, name=f"norm{number}")(net)
        net = layers.ReLU(name=f"relu{number}")(net)
    return keras.Model(source, layers.Dense(outputs, name="logits")(layers.Flatten(name="flat")(net)), name="listener")


def till(inputs: dict[str, Any], outputs: dict[str, int], *, training: bool) -> keras.Model:  # noqa: ARG001
    """Return a network that reads a picture and a vector, and answers with a class and a real value."""
    picture = keras.Input(inputs["images"].shape[1:], name="images")
    scales = keras.Input(inputs["scales"].shape[1:], name="scales")
    net = _conv(_conv(picture, 16, "conv1"), 32, "conv2", stride=2)
    digit = layers.Dense(32, "relu", name="digit")(layers.Flatten(name="flat")(net))
    product = layers.Dense(outputs["product"], name="product")(digit)
    both = layers.Concatenate(name="both")([digit, layers.Dense(16, "relu", name="weights")(scales)])
    both = layers.Dense(48, "relu", name="hidden")(both)
    price = layers.Dense(outputs["price"], name="price")(both)
    return keras.Model([picture, scales], {"product": product, "price": price}, name="till")


def autoencoder(inputs: Any, outputs: int, *, training: bool, code: int = 12) -> keras.Model:  # noqa: ARG001
    """Return an autoencoder with a narrow middle."""
    source = keras.Input(inputs.shape[1:], name="pixels")
    net = layers.Dense(48, "relu", name="encode")(source)
    net = layers.Dense(code, "relu", name="code")(net)
    net = layers.Dense(48, "relu", name="decode")(net)
    return keras.Model(source, layers.Dense(outputs, name="pixels_again")(net), name="autoencoder")


def tagger(inputs: Any, outputs: int, *, training: bool) -> keras.Model:  # noqa: ARG001
    """Return a convolutional network that says what is anywhere in a picture."""
    source = keras.Input(inputs.shape[1:], name="images")
    net = _conv(source, 16, "conv1")
    net = _conv(net, 32, "conv2", stride=2)
    net = _conv(net, 64, "conv3", stride=2)
    net = _conv(net, 64, "conv4")
    net = layers.GlobalMaxPooling2D(name="anywhere")(net)
    return keras.Model(source, layers.Dense(outputs, name="logits")(net), name="tagger")


def segmenter(inputs: Any, outputs: int, *, training: bool) -> keras.Model:  # noqa: ARG001
    """Return a small U-Net (Ronneberger et al. 2015, arXiv:1505.04597)."""
    source = keras.Input(inputs.shape[1:], name="images")
    fine = _conv(source, 16, "fine")
    middle = _conv(fine, 32, "middle", stride=2)
    coarse = _conv(middle, 64, "coarse", stride=2)
    net = layers.UpSampling2D(interpolation="bilinear", name="up1")(_conv(coarse, 32, "deep"))
    net = _conv(layers.Concatenate(name="join1")([net, middle]), 32, "merge1")
    net = layers.UpSampling2D(interpolation="bilinear", name="up2")(net)
    net = _conv(layers.Concatenate(name="join2")([net, fine]), 16, "merge2")
    return keras.Model(source, layers.Conv2D(outputs, 1, name="logits")(net), name="segmenter")


def detector(inputs: Any, outputs: dict[str, int], *, training: bool) -> keras.Model:  # noqa: ARG001
    """Return a single-shot detector with two feature maps, a quarter and an eighth of the picture's side."""
    source = keras.Input(inputs.shape[1:], name="images")
    net = _conv(_conv(source, 24, "conv1", stride=2), 48, "conv2", stride=2)
    quarter = _conv(net, 64, "quarter")
    eighth = _conv(_conv(quarter, 64, "conv3", stride=2), 64, "eighth")
    ends = {}
    for name, size in outputs.items():
        kind = name.rpartition("/")[2]
        rows = []
        for scale, net in (("quarter", quarter), ("eighth", eighth)):
            head = layers.Conv2D(size, 3, padding="same", name=f"{scale}_{kind}")(net)
            rows.append(layers.Reshape((-1, size), name=f"{scale}_{kind}_rows")(head))
        ends[name] = layers.Concatenate(axis=1, name=kind)(rows)
    return keras.Model(source, ends, name="detector")


def _conv(net: Any, filters: int, name: str, *, stride: int = 1) -> Any:
    net = layers.Conv2D(filters, 3, stride, "same", use_bias=False, name=name)(net)
    net = layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(net)
    return layers.ReLU(name=f"{name}_relu")(net)
