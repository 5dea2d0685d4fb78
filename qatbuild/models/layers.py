"""Layers with the names that slim gave them: <scope>/weights, <scope>/biases, <scope>/{Conv2D,BiasAdd,Relu}.

Law: what is random here is a function of the graph's seed, the layer's name and, for dropout, the global step. No
generator has a state, so a training that goes on from a checkpoint draws what it would have drawn.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from qatbuild.errors import StageError

v1 = tf.compat.v1
Activation = Callable[..., tf.Tensor] | None
Initializer = Callable[..., tf.Tensor]


def truncated_normal(stddev: float) -> Initializer:
    """Normal values with mean 0, redrawn beyond two standard deviations; drawn from the graph's seed and the name."""

    def initial(shape: Sequence[int], dtype: tf.DType = tf.float32, **_: Any) -> tf.Tensor:
        name = v1.get_default_graph().get_name_scope()
        return tf.random.stateless_truncated_normal(shape, _seed(name), 0.0, stddev, dtype)

    return initial


def variance_scaling(gain: float = 2.0) -> Initializer:
    """Truncated normal values with variance gain / fan-in: gain 2 keeps the variance through ReLU.

    He et al. 2015, arXiv:1502.01852, eq. 10. The fan-in is the product of all dimensions but the last; in a
    depthwise kernel [height, width, channels, 1] it is height x width.
    """

    def initial(shape: Sequence[int], dtype: tf.DType = tf.float32, **_: Any) -> tf.Tensor:
        sizes = [int(size) for size in shape]
        depthwise = len(sizes) == 4 and sizes[-1] == 1  # noqa: PLR2004
        fan_in = 1
        for size in sizes[: 2 if depthwise else -1]:
            fan_in *= size
        return truncated_normal((gain / fan_in) ** 0.5)(shape, dtype)

    return initial


def conv(
    net: tf.Tensor,
    filters: int,
    size_px: int,
    *,
    scope: str,
    stride: int = 1,
    activation: Activation = tf.nn.relu,
    weights: Initializer | None = None,
) -> tf.Tensor:
    """Convolution, bias, activation: [batch, h, w, c] -> [batch, ceil(h/stride), ceil(w/stride), filters]."""
    with v1.variable_scope(scope, use_resource=True):
        kernel = _weights("weights", [size_px, size_px, net.shape[-1], filters], weights)
        net = tf.nn.conv2d(net, kernel, strides=stride, padding="SAME", name="Conv2D")
        return _finish(net, 0.0, activation)


def depthwise(
    net: tf.Tensor,
    size_px: int,
    *,
    scope: str,
    stride: int = 1,
    activation: Activation = tf.nn.relu6,
    weights: Initializer | None = None,
) -> tf.Tensor:
    """One filter per channel, bias, activation: [batch, h, w, c] -> [batch, ceil(h/stride), ceil(w/stride), c]."""
    with v1.variable_scope(scope, use_resource=True):
        kernel = _weights("depthwise_weights", [size_px, size_px, net.shape[-1], 1], weights)
        strides = [1, stride, stride, 1]
        net = v1.nn.depthwise_conv2d_native(net, kernel, strides, "SAME", name="depthwise")
        return _finish(net, 0.0, activation)


def dense(
    net: tf.Tensor,
    units: int,
    *,
    scope: str,
    activation: Activation = tf.nn.relu,
    weights: Initializer | None = None,
    bias: float = 0.0,
) -> tf.Tensor:
    """Fully connected layer, bias (that begins as `bias`), activation: [batch, features] -> [batch, units]."""
    with v1.variable_scope(scope, use_resource=True):
        kernel = _weights("weights", [net.shape[-1], units], weights)
        return _finish(tf.matmul(net, kernel, name="MatMul"), bias, activation)


def max_pool(net: tf.Tensor, size_px: int, *, scope: str) -> tf.Tensor:
    """Maximum of each square of `size_px`, without overlap: [batch, h, w, c] -> [batch, h//size, w//size, c]."""
    with v1.variable_scope(scope):
        return tf.nn.max_pool2d(net, size_px, size_px, padding="VALID", name="MaxPool")


def flatten(net: tf.Tensor, *, scope: str = "Flatten") -> tf.Tensor:
    """[batch, h, w, c] -> [batch, h*w*c], by a Reshape to a constant shape, which every converter takes."""
    with v1.variable_scope(scope):
        return tf.reshape(net, [-1, int(net.shape[1:].num_elements())], name="Reshape")


def dropout(net: tf.Tensor, keep: float, *, training: bool, scope: str) -> tf.Tensor:
    """In training, zero each value with probability 1 - keep and divide the others by keep; else nothing at all.

    Srivastava et al. 2014, in the form that scales in training and so leaves inference alone. The values that go
    depend on the graph's seed, the scope and the global step, and on nothing else.
    """
    if not training:
        return net
    with v1.variable_scope(scope) as variable_scope:
        step = tf.cast(v1.train.get_or_create_global_step(), tf.int64)
        seed = tf.stack([sum(_seed(variable_scope.name)), step])
        kept = tf.random.stateless_uniform(tf.shape(net), seed) < keep
        return tf.multiply(net, tf.cast(kept, net.dtype) / keep, name="mul")


def require_pixels(images: tf.Tensor, *, network: str, least_px: int) -> None:
    """StageError unless images are at least `least_px` high and wide, naming the network, what it got and wants."""
    height, width, channels = images.shape[1:]
    if min(height, width) < least_px:
        facts: list[tuple[str, object]] = [
            ("network", network),
            ("images", f"{height}x{width}x{channels}"),
            ("wanted", f"at least {least_px}x{least_px} pixels"),
        ]
        hint = "Choose another network, or a dataset with larger images."
        raise StageError("The network cannot take images of this shape.", facts, hint)


def _weights(name: str, shape: Sequence[int], initial: Initializer | None) -> tf.Variable:
    return v1.get_variable(name, shape, tf.float32, initial or variance_scaling())


def _finish(net: tf.Tensor, bias: float, activation: Activation) -> tf.Tensor:
    biases = v1.get_variable("biases", [net.shape[-1]], tf.float32, v1.constant_initializer(bias))
    net = tf.nn.bias_add(net, biases, name="BiasAdd")
    return net if activation is None else activation(net)


def _seed(name: str) -> tuple[int, int]:
    """The graph's seed (0 if it has none) and a number that is fixed by a name."""
    return (v1.get_default_graph().seed or 0, zlib.crc32(name.encode()))
