"""Small fake-quantized networks for each scheme, with every kind of layer of the emulator and the layer table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.worker.tflite import convert
from tests.tflite.running import ends

v1 = tf.compat.v1
SIDE_PX, CHANNELS, CLASSES = 12, 3, 5
SCHEMES = ("uint8", "int8", "int8_per_channel")


class Layers:
    """Layers with fake quantization, as the scheme wants it; without a scheme, floats."""

    def __init__(self, scheme: str | None) -> None:
        self.scheme, self.random = scheme, np.random.default_rng(7)

    def range(self, net: Any, low: float, high: float, name: str) -> Any:
        if self.scheme is None:
            return net
        return tf.quantization.fake_quant_with_min_max_vars(net, low, high, name=f"{name}/act_quant")

    def weights(self, shape: tuple[int, ...], *, dense: bool = False) -> Any:
        fan_in = np.prod(shape[:2] if shape[-1] == 1 else shape[:-1])
        values = (self.random.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float32)
        if self.scheme is None:
            return tf.constant(values)
        if self.scheme == "int8_per_channel" and not dense:
            flat = values[..., 0] if shape[-1] == 1 else values
            ends = np.abs(flat).max(axis=tuple(range(flat.ndim - 1)))
            quantized = tf.quantization.fake_quant_with_min_max_vars_per_channel(flat, -ends, ends, narrow_range=True)
            return tf.reshape(quantized, shape)
        largest = np.abs(values).max()
        ends = (values.min(), values.max()) if self.scheme == "uint8" else (-largest, largest)
        return tf.quantization.fake_quant_with_min_max_vars(values, *ends, narrow_range=True)

    def layer(
        self,
        net: Any,
        name: str,
        shape: tuple[int, ...],
        ends: tuple[float, float],
        activation: Any = None,
        **options: Any,
    ) -> Any:
        """A convolution, a depthwise one (one filter) or a dense layer; bias, activation, range."""
        with v1.name_scope(name):
            if len(shape) == 2:
                net = tf.matmul(net, self.weights(shape, dense=True), name="MatMul")
            elif shape[-1] == 1:
                options["strides"] = [1, options.pop("stride", 1), options.get("stride", 1), 1]
                options["strides"][2] = options["strides"][1]
                net = v1.nn.depthwise_conv2d_native(
                    net, self.weights(shape), padding="SAME", name="depthwise", **options
                )
            else:
                padding, stride = options.pop("padding", "SAME"), options.pop("stride", 1)
                net = tf.nn.conv2d(net, self.weights(shape), stride, padding, name="Conv2D", **options)
            biases = (self.random.normal(size=net.shape[-1]) / 5).astype(np.float32)
            net = tf.nn.bias_add(net, biases, name="BiasAdd")
            net = net if activation is None else activation(net)
        return self.range(net, *ends, name)


def mobile(make: Layers, net: Any) -> Any:
    """Strides, relu6, depthwise, a residual add of two ranges, an average pool; odd zero points."""
    net = make.layer(net, "conv1", (3, 3, 3, 8), (0.0, 6.0), tf.nn.relu6, stride=2)
    wide = make.layer(net, "depthwise2", (3, 3, 8, 1), (0.0, 4.0), tf.nn.relu, stride=1)
    wide = make.layer(wide, "project3", (1, 1, 8, 8), (-3.1, 2.2))
    net = make.range(tf.nn.relu(tf.add(net, wide, name="add"), name="add_relu"), 0.0, 7.0, "add")
    net = make.range(v1.nn.avg_pool(net, 2, 2, "VALID", name="pool"), 0.0, 7.0, "pool")
    net = tf.reshape(net, [-1, 72], name="Flatten")
    return make.layer(net, "logits", (72, CLASSES), (-6.0, 5.0))


def inception(make: Layers, net: Any) -> Any:
    """VALID, dilation, a max pool with padding, a concatenation of one range, a mean."""
    net = make.layer(net, "conv1", (3, 3, 3, 8), (-3.7, 3.3), padding="VALID")
    ends = (0.0, 4.0)
    left = make.layer(net, "left", (1, 1, 8, 4), ends, tf.nn.relu)
    right = make.layer(net, "right", (3, 3, 8, 6), ends, tf.nn.relu, dilations=2)
    pooled = v1.nn.max_pool(make.layer(net, "narrow", (1, 1, 8, 2), ends, tf.nn.relu), 3, 1, "SAME", name="pool")
    net = make.range(tf.concat([left, right, pooled], 3, name="concat"), *ends, "concat")
    net = make.range(tf.reduce_mean(net, [1, 2], name="Mean"), *ends, "mean")
    net = make.layer(net, "hidden", (12, 16), (0.0, 3.0), tf.nn.relu)
    return make.layer(net, "logits", (16, CLASSES), (-3.0, 3.0))


def excite(make: Layers, net: Any) -> Any:
    """Padding, leaky ReLU, a gate (mean, sigmoid, multiply), a subtraction, max pool."""
    net = tf.pad(net, [[0, 0], [1, 1], [2, 0], [0, 0]], name="Pad")
    net = make.layer(net, "conv1", (3, 3, 3, 8), (-4.0, 4.0), padding="VALID")
    net = make.range(tf.nn.leaky_relu(net, 0.1, name="LeakyRelu"), -1.0, 4.0, "leaky")
    gate = make.range(tf.reduce_mean(net, [1, 2], keepdims=True, name="Mean"), -1.0, 4.0, "squeeze")
    gate = make.layer(gate, "excite", (1, 1, 8, 8), (-4.0, 4.0))
    gate = make.range(tf.sigmoid(gate, name="Sigmoid"), 0.0, 255 / 256, "gate")
    net = make.range(tf.multiply(net, gate, name="mul"), -1.0, 3.0, "mul")
    net = v1.nn.max_pool(net, 3, 3, "SAME", name="pool")
    left = make.layer(net, "left", (1, 1, 8, 4), (-3.0, 3.0))
    right = make.layer(net, "right", (1, 1, 8, 4), (-2.0, 2.5))
    net = make.range(tf.subtract(left, right, name="sub"), -4.0, 4.5, "sub")
    net = tf.reshape(net, [-1, 64], name="Flatten")
    return make.layer(net, "logits", (64, CLASSES), (-6.0, 6.0))


NETS: dict[str, Callable[[Layers, Any], Any]] = {each.__name__: each for each in (mobile, inception, excite)}


def graph(net: str, scheme: str | None) -> Any:
    """The frozen GraphDef of a net; without a scheme, the float one with the same weights and names."""
    with tf.Graph().as_default() as result:
        images = v1.placeholder(tf.float32, [None, SIDE_PX, SIDE_PX, CHANNELS], name="input")
        tf.nn.softmax(NETS[net](Layers(scheme), images), name="Softmax")
    return result.as_graph_def()


def build(net: str, scheme: str, folder: Path) -> Path:
    """frozen_graph.pb, float_graph.pb and model.tflite of a net, in a folder; the .tflite's path."""
    frozen = folder / "frozen_graph.pb"
    frozen.write_bytes(graph(net, scheme).SerializeToString(deterministic=True))
    (folder / "float_graph.pb").write_bytes(graph(net, None).SerializeToString(deterministic=True))
    model = folder / "model.tflite"
    model.write_bytes(convert.convert(frozen, ends("Softmax", scheme), scheme=scheme))
    return model
