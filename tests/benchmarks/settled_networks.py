"""Networks of keras.applications that decide, without a training: random weights, settled on the data, a fitted head.

    python -m tests.benchmarks.settled_networks MobileNetV2 digits.npz mobilenet_v2.keras

saves the network as a Keras file with its weights, and prints its top-1 on the test images. Layer by layer, in one pass
over a few hundred training images,

    kernels      random as Keras draws them, are scaled to outputs of variance 1 (Mishkin & Matas 2015, "All you need is
                 a good init", section 3): else the images' differences fade, layer by layer, until 8 bits lose them
    batch norms  take these images' means and variances; in front of an activation their shift is 2, so that it bends
                 some of the values only. With a shift of 0 depth makes random networks chaotic: no two images of a
                 class remain alike, and any step of rounding grows until it decides (Yang et al. 2019, "A mean field
                 theory of batch normalization")
    the head     is fitted to the features of all training images: linear discriminant analysis of scikit-learn
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tests.benchmarks.keras_applications import scaling

_SETTLED_ON, _BATCH = 256, 64
_SHIFT = 2.0
_SHRINKAGE = 0.1
_SEED = 1
_BENDS = ("ReLU", "Activation")
_WEIGHTED = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.layers.Dense)
Images = NDArray[np.float32]


def main(arguments: list[str]) -> int:
    """Make a network and save it."""
    name, data, to = arguments[0], np.load(arguments[1]), Path(arguments[2])
    keras.utils.set_random_seed(_SEED)
    images, labels = (data[f"train_{column}"] for column in ("images", "labels"))
    model = getattr(keras.applications, name)(input_shape=images.shape[1:], weights=None, classes=len(set(labels)))
    real = _real(images, name)
    chosen = np.random.default_rng(_SEED).choice(len(real), _SETTLED_ON, replace=False)
    settle(model, real[chosen])
    fit_head(model, real, labels)
    tested = model.predict(_real(data["test_images"], name), batch_size=_BATCH, verbose=0).argmax(1)
    sys.stdout.write(f"{100 * np.mean(tested == data['test_labels']):.1f}\n")
    model.save(to)
    return 0


def settle(model: keras.Model, images: Images) -> None:
    """Scale the kernels and set the batch norms in the order of computation, on images [n, height, width, channels]."""
    layers = [layer for layer in model.layers if isinstance(layer, (*_WEIGHTED, keras.layers.BatchNormalization))]
    for layer in layers:
        layer.call = _settling(layer)
    model(images, training=False)
    for layer in layers:
        del layer.call


def _settling(layer: keras.Layer) -> Any:
    """A layer's call that first settles the layer on the values that it gets."""
    call = layer.call

    def scaled(values: tf.Tensor) -> tf.Tensor:
        output = call(values)
        deviation = _deviation(output, by_channel=_read_by(layer, ("BatchNormalization",)))
        kernel = [weights for weights in layer.weights if "kernel" in weights.name][-1]
        kernel.assign(kernel / deviation)
        return call(values)

    def normalized(values: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(values, _all_but_channels(values))
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
        if _read_by(layer, _BENDS):
            layer.beta.assign(tf.fill(layer.beta.shape, _SHIFT))
        return call(values, training=False)

    if isinstance(layer, keras.layers.BatchNormalization):
        return lambda values, **_: normalized(values)
    # Behind another activation the output is no multiple of the kernel.
    follows = layer.activation in {keras.activations.linear, keras.activations.relu}
    return lambda values, **_: scaled(values) if follows else call(values)


def _deviation(values: tf.Tensor, *, by_channel: bool) -> float:
    """The standard deviation of all values, or its mean square by channel, where a batch norm takes away the means."""
    axes = _all_but_channels(values) if by_channel else None
    return float(tf.sqrt(tf.reduce_mean(tf.math.reduce_variance(values, axes))))


def _all_but_channels(values: tf.Tensor) -> list[int]:
    return list(range(values.shape.rank - 1))


def _read_by(layer: keras.Layer, classes: tuple[str, ...]) -> bool:
    return any(type(node.operation).__name__ in classes for node in layer._outbound_nodes)  # noqa: SLF001


def fit_head(model: keras.Model, images: Images, labels: NDArray[np.integer]) -> None:
    """Fit the last layer with a kernel to the labels."""
    head = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))][-1]
    features = keras.Model(model.input, head.input).predict(images, batch_size=_BATCH, verbose=0)
    features = features.reshape(len(images), -1)
    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_SHRINKAGE).fit(features, labels)
    # What all classes have in common decides nothing, and would take most of the logits' range.
    kernel, bias = (each - each.mean(0) for each in (fitted.coef_, fitted.intercept_))
    head.kernel.assign(kernel.T.reshape(head.kernel.shape))
    head.bias.assign(bias)


def _real(images: NDArray[np.uint8], name: str) -> Images:
    about = scaling(name)
    return (images.astype(np.float32) - about["mean"]) / about["std_dev"]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
