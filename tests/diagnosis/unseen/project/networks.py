"""Networks of several kinds, as functions that return Keras models, each with a way to break it."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers


def perceptron(inputs, outputs, *, training, units=24, values=1):  # noqa: ARG001
    """Return two hidden layers for a vector of real values."""
    source = keras.Input(inputs.shape[1:], name="features")
    net = layers.Dense(units, "relu", name="hidden1")(source)
    net = layers.Dense(units, "relu", name="hidden2")(net)
    return keras.Model(source, layers.Dense(outputs or values, name="values")(net))


def autoencoder(inputs, outputs, *, training, code=10):  # noqa: ARG001
    """Return an autoencoder with a narrow middle."""
    source = keras.Input(inputs.shape[1:], name="pixels")
    net = layers.Dense(48, "relu", name="encode")(source)
    net = layers.Dense(code, "relu", name="code")(net)
    net = layers.Dense(48, "relu", name="decode")(net)
    return keras.Model(source, layers.Dense(outputs, name="again")(net))


def listener(inputs, outputs, *, training, slow="", momentum=0.999):  # noqa: ARG001
    """Return convolutions along a series; the batch norm of `slow` has the momentum `momentum`, the others 0.9."""
    source = keras.Input(inputs.shape[1:], name="motion")
    net = source
    for number, filters in enumerate((8, 16, 16), start=1):
        name = f"conv{number}"
        net = layers.Conv1D(filters, 5, 2, "same", use_bias=False, name=name)(net)
        net = layers.BatchNormalization(momentum=momentum if name == slow else 0.9, name=f"{name}_norm")(net)
        net = layers.ReLU(name=f"{name}_relu")(net)
    return keras.Model(source, layers.Dense(outputs, name="logits")(layers.Flatten(name="flat")(net)))


def energies(inputs, outputs, *, training):  # noqa: ARG001
    """Return a filter bank: the mean square of what each of 16 convolutions along a series gives, classified."""
    source = keras.Input(inputs.shape[1:], name="motion")
    net = layers.Conv1D(16, 9, 1, "valid", name="bank")(source)
    net = layers.Multiply(name="energy")([net, net])
    net = layers.GlobalAveragePooling1D(name="mean")(net)
    net = layers.Dense(24, "relu", name="hidden")(net)
    return keras.Model(source, layers.Dense(outputs, name="logits")(net))


def separable(inputs, outputs, *, training, faint=""):  # noqa: ARG001
    """Return depthwise separable convolutions; in front of the depthwise convolution `faint` a channel is weak."""
    source = keras.Input(inputs.shape[1:], name="images")
    net = source
    for number, filters in enumerate((12, 24, 24), start=1):
        net = layers.DepthwiseConv2D(3, 1 + number % 2, "same", use_bias=False, name=f"depth{number}")(net)
        net = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"depth{number}_norm")(net)
        net = layers.ReLU(name=f"depth{number}_relu")(net)
        weights = _weak_first(int(net.shape[-1]), filters) if f"depth{number + 1}" == faint else "he_normal"
        net = layers.Conv2D(filters, 1, use_bias=False, name=f"point{number}", kernel_initializer=weights)(net)
        if f"depth{number + 1}" != faint:
            net = layers.BatchNormalization(momentum=0.9, name=f"point{number}_norm")(net)
        net = layers.ReLU(name=f"point{number}_relu")(net)
    net = layers.GlobalAveragePooling2D(name="mean")(net)
    return keras.Model(source, layers.Dense(outputs, name="logits")(net))


def residual(inputs, outputs, *, training, loud="", gain=80.0, slow=""):  # noqa: ARG001
    """Return two residual blocks; the batch norm of the layer `loud` amplifies its first channel."""
    source = keras.Input(inputs.shape[1:], name="images")
    how = {"loud": loud, "gain": gain, "slow": slow}
    net = _normed(source, 16, "stem", stride=2, **how)
    for number in (1, 2):
        branch = _normed(net, 16, f"block{number}_a", **how)
        branch = _normed(branch, 16, f"block{number}_b", **how)
        net = layers.Add(name=f"block{number}_sum")([net, branch])
    net = layers.GlobalAveragePooling2D(name="mean")(net)
    return keras.Model(source, layers.Dense(outputs, name="logits")(net))


def tagger(inputs, outputs, *, training):  # noqa: ARG001
    """Return convolutions whose greatest value anywhere in the picture counts."""
    source = keras.Input(inputs.shape[1:], name="images")
    net = _normed(_normed(source, 16, "conv1"), 32, "conv2", stride=2)
    net = layers.Conv2D(48, 5, padding="same", activation="relu", name="peaks")(net)
    net = layers.GlobalMaxPooling2D(name="anywhere")(net)
    return keras.Model(source, layers.Dense(outputs, name="logits")(net))


def segmenter(inputs, outputs, *, training, slow="", place=0.0):  # noqa: ARG001
    """Return a small U-Net; with `place`, the brightest of each 2 x 2 pixels, by that factor, is joined to it."""
    source = keras.Input(inputs.shape[1:], name="images")
    fine = _normed(source, 8, "fine", slow=slow)
    coarse = _normed(_normed(fine, 16, "coarse", stride=2, slow=slow), 16, "deep", slow=slow)
    if place:
        bright = layers.MaxPooling2D(2, name="brightest")(source)
        bright = layers.Rescaling(place, name="bright")(bright)
        coarse = layers.Concatenate(name="with_bright")([coarse, bright])
    net = layers.UpSampling2D(name="up")(coarse)
    net = _normed(layers.Concatenate(name="join")([net, fine]), 16, "merge", slow=slow)
    return keras.Model(source, layers.Conv2D(outputs, 1, name="classes")(net))


def parcel(inputs, outputs, *, training):  # noqa: ARG001
    """Return a network that reads a picture and weights, and answers with a class and a price."""
    picture = keras.Input(inputs["images"].shape[1:], name="images")
    scales = keras.Input(inputs["scales"].shape[1:], name="scales")
    net = layers.Conv2D(12, 3, 2, "same", activation="relu", name="look")(picture)
    digit = layers.Dense(24, "relu", name="digit")(layers.Flatten(name="flat")(net))
    weight = layers.Dense(4, "relu", name="weight")(scales)
    both = layers.Concatenate(name="both")([digit, weight])
    price = layers.Dense(outputs["price"], name="price")(layers.Dense(24, "relu", name="hidden")(both))
    return keras.Model(
        [picture, scales], {"product": layers.Dense(outputs["product"], name="product")(digit), "price": price}
    )


def _normed(net, filters, name, *, stride=1, slow="", loud="", gain=1.0):
    gamma = np.ones(filters, np.float32)
    if name == loud:
        gamma[0] = gain
    net = layers.Conv2D(filters, 3, stride, "same", use_bias=False, name=name)(net)
    momentum = 0.999 if name == slow else 0.9
    scales = keras.initializers.Constant(gamma)
    net = layers.BatchNormalization(momentum=momentum, gamma_initializer=scales, name=f"{name}_norm")(net)
    return layers.ReLU(name=f"{name}_relu")(net)


def _weak_first(inputs, filters):
    """Return usual weights [1, 1, inputs, filters], but those of the first output channel a thousandth of it."""
    weights = np.random.Generator(np.random.Philox(7)).normal(0, (2 / inputs) ** 0.5, (1, 1, inputs, filters))
    weights[..., 0] *= 1e-3
    return keras.initializers.Constant(weights.astype(np.float32))
