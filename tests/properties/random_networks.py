"""Random small networks, each from a seed: functions for "model": {"call"}.

They join the layers and operators that users write in any order, also in orders that make no sense, within what Keras
and TensorFlow accept. Some have no integer form: the check of the network has to find those.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

v1 = tf.compat.v1

_MOST_VALUES = 4096
"""Values of one image in any tensor: larger ones only take time."""

_IMAGE, _SEQUENCE, _VECTOR = 4, 3, 2
"""Ranks, with the batch."""


def of_keras(images: tf.Tensor, classes: int, *, training: bool, seed: int) -> keras.Model:  # noqa: ARG001
    """A functional model of two to six random blocks and a head of logits."""
    draw = Draw(seed)
    x = start = keras.Input(images.shape[1:])
    for _ in range(draw.random.randint(2, 6)):
        x = draw.block(x)
    return keras.Model(start, draw.head(x, classes), name="net")


class Draw:
    """Random blocks. A block takes a tensor of rank 2 to 4 and returns one."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._count = 0

    def name(self, kind: str) -> str:
        """A name that tells the layer apart, also in an error."""
        self._count += 1
        return f"{kind}_{self._count}"

    def block(self, x: Any) -> Any:
        blocks: dict[int, list[Callable[[Any], Any]]] = {
            _IMAGE: [
                self.layer_of_weights, self.layer_of_weights, self.layer_of_weights, self.normalized, self.activated,
                self.pooled, self.residual, self.inception, self.excited, self.moved, self.computed, self.reshaped,
                self.operated,
            ],
            _SEQUENCE: [
                self.over_time, self.over_time, self.unrolled, self.normalized, self.activated, self.computed,
                self.operated, self.back,
            ],
            _VECTOR: [self.dense, self.normalized, self.activated, self.computed, self.operated],
        }  # fmt: skip
        return self.random.choice(blocks.get(len(x.shape), [self.flat]))(x)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # Layers with weights, on images, sequences and vectors.

    def layer_of_weights(self, x: Any) -> Any:
        """A convolution of any kind, often with batch norm and activation behind it."""
        make = self.random.choice(
            [self.conv, self.conv, self.depthwise, self.separable, self.transposed, self.dense_of_pixels]
        )
        return self.finished(make(x))

    def finished(self, x: Any) -> Any:
        order = self.random.choice(
            [[], [self.activated], [self.normalized, self.activated], [self.activated, self.normalized]]
        )
        for each in order:
            x = each(x)
        return x

    def bias(self) -> dict[str, Any]:
        """Biases that are not zero, as after a training."""
        if self.chance(0.4):
            return {"use_bias": False}
        return {"bias_initializer": keras.initializers.RandomNormal(stddev=0.3, seed=self.random.randint(1, 999))}

    def options(self, x: Any) -> dict[str, Any]:
        """Kernel, strides, padding and dilation that fit an image."""
        sizes = x.shape[1:3]
        kernel = tuple(self.random.choice([1, 2, 3, 3, 5]) for _ in sizes)
        options: dict[str, Any] = {"kernel_size": kernel, "padding": self.random.choice(["same", "same", "valid"])}
        if self.chance(0.2) and kernel != (1, 1):
            options["dilation_rate"] = self.random.choice([2, 2, 3])
        elif self.chance(0.3):
            options["strides"] = self.random.choice([2, 2, 3])
        reach = [(size - 1) * options.get("dilation_rate", 1) + 1 for size in kernel]
        if any(size < needed for size, needed in zip(sizes, reach, strict=True)):
            options["padding"] = "same"
        return options

    def conv(self, x: Any) -> Any:
        filters = self.random.choice([2, 4, 6, 8])
        more: dict[str, Any] = {}
        if self.chance(0.2) and x.shape[-1] % 2 == 0:
            more["groups"] = self.random.choice([2, x.shape[-1]])
            filters = more["groups"] * self.random.choice([1, 2])
        return layers.Conv2D(filters, **self.options(x), **self.bias(), **more, name=self.name("conv"))(x)

    def depthwise(self, x: Any) -> Any:
        options = {"depth_multiplier": self.random.choice([1, 1, 2]), **self.options(x), **self.bias()}
        return layers.DepthwiseConv2D(**options, name=self.name("depthwise"))(x)

    def separable(self, x: Any) -> Any:
        filters = self.random.choice([2, 4, 6])
        return layers.SeparableConv2D(filters, **self.options(x), **self.bias(), name=self.name("separable"))(x)

    def transposed(self, x: Any) -> Any:
        if x.shape[1] * x.shape[2] > _MOST_VALUES // 32:
            return self.conv(x)
        filters, strides = self.random.choice([2, 4]), self.random.choice([1, 2])
        size, padding = self.random.choice([2, 3, 4]), self.random.choice(["same", "valid"])
        name = self.name("transposed")
        return layers.Conv2DTranspose(filters, size, strides=strides, padding=padding, **self.bias(), name=name)(x)

    def dense_of_pixels(self, x: Any) -> Any:
        return layers.Dense(self.random.choice([3, 4, 8]), **self.bias(), name=self.name("pixels"))(x)

    def dense(self, x: Any) -> Any:
        return self.finished(layers.Dense(self.random.choice([5, 8, 16]), **self.bias(), name=self.name("dense"))(x))

    def over_time(self, x: Any) -> Any:
        """A layer of sequences."""
        filters, size = self.random.choice([3, 4, 6]), self.random.choice([1, 2, 3])
        options: dict[str, Any] = {"padding": self.random.choice(["same", "causal", "valid"]), **self.bias()}
        if x.shape[1] <= 6:
            options["padding"] = "same"
        kind = self.random.choice(["conv", "conv", "depthwise", "separable", "pool", "average", "dense"])
        if kind in {"conv", "depthwise", "separable"}:
            if self.chance(0.3):
                options[self.random.choice(["strides", "dilation_rate"])] = 2
            if kind == "depthwise":
                options["padding"] = options["padding"].replace("causal", "same")
                return self.finished(layers.DepthwiseConv1D(size, **options, name=self.name("depthwise1d"))(x))
            made = {"conv": layers.Conv1D, "separable": layers.SeparableConv1D}[kind]
            return self.finished(made(filters, size, **options, name=self.name(f"{kind}1d"))(x))
        if kind == "dense":
            return self.finished(layers.Dense(filters, name=self.name("steps"))(x))
        if x.shape[1] < 4:
            return self.back(x)
        made = {"pool": layers.MaxPooling1D, "average": layers.AveragePooling1D}[kind]
        return made(2, padding=self.random.choice(["same", "valid"]), name=self.name(kind))(x)

    def unrolled(self, x: Any) -> Any:
        """A recurrent layer of few steps."""
        if x.shape[1] > 6:
            return self.over_time(x)
        make = self.random.choice([layers.LSTM, layers.GRU, layers.SimpleRNN])
        options: dict[str, Any] = {"unroll": not self.chance(0.1), "return_sequences": self.chance(0.5)}
        if make is layers.GRU:
            options["reset_after"] = self.chance(0.5)
        options["go_backwards"] = self.chance(0.3)
        return make(self.random.choice([2, 4]), use_bias=self.chance(0.8), **options, name=self.name("loop"))(x)

    # Layers without weights.

    def normalized(self, x: Any) -> Any:
        random = self.random
        options = {name: random.choice([True, True, False]) for name in ("scale", "center")}
        for name in ("beta_initializer", "moving_mean_initializer"):
            options[name] = keras.initializers.RandomNormal(stddev=0.2, seed=random.randint(1, 999))
        for name in ("gamma_initializer", "moving_variance_initializer"):
            options[name] = keras.initializers.RandomUniform(0.5, 1.5, seed=random.randint(1, 999))
        return layers.BatchNormalization(**options, momentum=0.9, name=self.name("norm"))(x)

    def activated(self, x: Any) -> Any:
        simple = ["relu", "relu", "relu", "relu6", "sigmoid", "tanh", "hard_swish", "silu", "hard_sigmoid", "softmax"]
        rare = ["elu", "gelu", "softplus", "exponential"]
        if self.chance(0.6):
            return layers.Activation(self.random.choice(simple), name=self.name("activation"))(x)
        if self.chance(0.05):
            return layers.Activation(self.random.choice(rare), name=self.name("activation"))(x)
        made: list[Callable[[], keras.Layer]] = [
            lambda: layers.ReLU(name=self.name("relu")),
            lambda: layers.ReLU(max_value=self.random.choice([1.0, 4.0, 6.0]), name=self.name("relu")),
            lambda: layers.ReLU(negative_slope=0.1, name=self.name("relu")),
            lambda: layers.LeakyReLU(self.random.choice([0.01, 0.3]), name=self.name("leaky")),
            lambda: layers.PReLU(
                keras.initializers.RandomUniform(0.05, 0.4, seed=self.random.randint(1, 999)),
                shared_axes=self.random.choice([None, list(range(1, len(x.shape) - 1)) or None]),
                name=self.name("prelu"),
            ),
            lambda: layers.Softmax(name=self.name("softmax")),
        ]
        return self.random.choice(made)()(x)

    def pooled(self, x: Any) -> Any:
        kind = self.random.choice([layers.MaxPooling2D, layers.AveragePooling2D])
        if min(x.shape[1:3]) < 3:
            kind = self.random.choice([layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D])
            return kind(keepdims=self.chance(0.5), name=self.name("pool"))(x)
        size, strides = self.random.choice([2, 3]), self.random.choice([1, 2, 3])
        return kind(size, strides, self.random.choice(["same", "valid"]), name=self.name("pool"))(x)

    def moved(self, x: Any) -> Any:
        """Padding, cropping, enlarging, dropping: the values stay."""
        height, width = x.shape[1:3]
        made: list[keras.Layer] = [
            layers.ZeroPadding2D(self.random.choice([1, ((0, 1), (0, 1)), (2, 0)]), name=self.name("padded")),
            layers.Permute((2, 1, 3), name=self.name("permuted")),
            layers.Dropout(0.2, name=self.name("dropout")),
            layers.SpatialDropout2D(0.2, name=self.name("dropout")),
        ]
        if min(height, width) > 3:
            made.append(layers.Cropping2D(self.random.choice([1, ((0, 1), (1, 0))]), name=self.name("cropped")))
        if height * width * x.shape[3] * 6 < _MOST_VALUES:
            interpolation = self.random.choice(["nearest", "bilinear"])
            made.append(
                layers.UpSampling2D(self.random.choice([2, (1, 2), (3, 2)]), interpolation=interpolation,
                                    name=self.name("enlarged"))
            )  # fmt: skip
        return self.random.choice(made)(x)

    # Several branches.

    def same_size(self, x: Any) -> Any:
        """A branch whose result has the shape of `x`."""
        padding = {"padding": "same", **self.bias()}
        y = x
        for _ in range(self.random.randint(1, 2)):
            if len(x.shape) == _VECTOR:
                y = layers.Dense(x.shape[-1], name=self.name("branch"))(y)
            elif len(x.shape) == _SEQUENCE:
                y = layers.Conv1D(x.shape[-1], 3, **padding, name=self.name("branch"))(y)
            elif self.chance(0.3):
                y = layers.DepthwiseConv2D(3, **padding, name=self.name("branch"))(y)
            else:
                y = layers.Conv2D(x.shape[-1], self.random.choice([1, 3]), **padding, name=self.name("branch"))(y)
            y = self.finished(y)
        return y

    def residual(self, x: Any) -> Any:
        y = layers.Add(name=self.name("add"))([x, self.same_size(x)])
        return self.activated(y) if self.chance(0.5) else y

    def computed(self, x: Any) -> Any:
        """Two branches joined by arithmetic."""
        y = self.same_size(x)
        if self.chance(0.3):
            x = self.same_size(x)
        made = self.random.choice(
            [
                layers.Add, layers.Subtract, layers.Multiply, layers.Concatenate, layers.Average, layers.Maximum,
                layers.Minimum,
            ]
        )  # fmt: skip
        return made(name=self.name(made.__name__.lower()))([x, y])

    def operated(self, x: Any) -> Any:
        """Operators and functions of keras.ops on tensors."""
        ops, y, number = keras.ops, self.same_size(x), self.random.choice([0.5, 2.0, -1.0, 3.0])
        half = max(x.shape[-1] // 2, 1)
        made: list[Callable[[], Any]] = [
            lambda: x + y,
            lambda: x - y,
            lambda: x * y,
            lambda: y * number,
            lambda: y + number,
            lambda: number - y,
            lambda: -y,
            lambda: y / 4.0,
            lambda: x * number + y,
            lambda: ops.relu(x + y),
            lambda: ops.relu6(y) * ops.sigmoid(x),
            lambda: ops.maximum(x, y),
            lambda: ops.clip(y, 0.0, 1.0),
            lambda: ops.concatenate([x[..., half:], y[..., :half]], axis=-1) if x.shape[-1] > 1 else x,
            lambda: y[:, : x.shape[1] // 2 + 1],
            lambda: ops.concatenate(ops.split(y, 2, axis=-1)[::-1], axis=-1) if x.shape[-1] % 2 == 0 else y,
            lambda: y * ops.mean(x, axis=1, keepdims=True),
            lambda: ops.squeeze(ops.expand_dims(y, 1), 1),
            lambda: ops.swapaxes(ops.swapaxes(y, 1, -1), 1, -1),
        ]
        return self.random.choice(made)()

    def inception(self, x: Any) -> Any:
        same: dict[str, Any] = {"padding": "same"}
        branches: list[Callable[[], Any]] = [
            lambda: self.finished(layers.Conv2D(2, 1, **same, **self.bias(), name=self.name("branch"))(x)),
            lambda: self.finished(layers.Conv2D(3, 3, **same, **self.bias(), name=self.name("branch"))(x)),
            lambda: layers.MaxPooling2D(3, 1, **same, name=self.name("pool"))(x),
            lambda: layers.Conv2D(2, 1, name=self.name("branch"))(
                layers.AveragePooling2D(3, 1, **same, name=self.name("pool"))(x)
            ),
            lambda: self.activated(x),
            lambda: x,
        ]
        chosen = self.random.sample(branches, self.random.randint(2, 4))
        return layers.Concatenate(name=self.name("concat"))([each() for each in chosen])

    def excited(self, x: Any) -> Any:
        """Squeeze and excitation."""
        gate = layers.GlobalAveragePooling2D(keepdims=True, name=self.name("squeeze"))(x)
        # A bias so large that the two values are not always 0.
        bias = keras.initializers.Constant(1.0)
        gate = layers.Conv2D(2, 1, activation="relu", bias_initializer=bias, name=self.name("reduce"))(gate)
        activation = self.random.choice(["sigmoid", "hard_sigmoid", "tanh"])
        gate = layers.Conv2D(x.shape[-1], 1, activation=activation, name=self.name("expand"))(gate)
        return layers.Multiply(name=self.name("gate"))([x, gate])

    # From one rank to another.

    def reshaped(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        name = self.name("reshaped")
        if channels % 2 == 0 and self.chance(0.3):
            x = layers.Reshape((height, width, 2, channels // 2), name=name)(x)
            x = layers.Permute((1, 2, 4, 3), name=self.name("permuted"))(x)
            return layers.Reshape((height, width, channels), name=self.name("together"))(x)
        if self.chance(0.5):
            return layers.Reshape((-1, channels), name=name)(x)
        return layers.Reshape((width, height, channels), name=name)(x)

    def back(self, x: Any) -> Any:
        """A sequence as an image or a vector."""
        if self.chance(0.4):
            return layers.Reshape((x.shape[1], 1, x.shape[2]), name=self.name("columns"))(x)
        if self.chance(0.5):
            return layers.UpSampling1D(2, name=self.name("enlarged"))(x)
        kind = self.random.choice([layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D])
        return kind(name=self.name("pool"))(x)

    def flat(self, x: Any) -> Any:
        return layers.Flatten(name=self.name("flat"))(x)

    def head(self, x: Any, classes: int) -> Any:
        if len(x.shape) == _IMAGE and self.chance(0.5):
            x = layers.GlobalAveragePooling2D(name=self.name("pool"))(x)
        if len(x.shape) == _SEQUENCE and self.chance(0.5):
            x = layers.GlobalAveragePooling1D(name=self.name("pool"))(x)
        if len(x.shape) != _VECTOR:
            x = self.flat(x)
        activation = self.random.choice([None, "softmax"])
        return layers.Dense(classes, activation=activation, **self.bias(), name="logits")(x)
