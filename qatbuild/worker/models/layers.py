"""Layers with slim's names: <scope>/{weights,biases,BatchNorm}, <scope>/{Conv2D,BiasAdd,Relu}.

Random numbers are a function of the graph's seed, the layer's name and, for dropout, the global step. No generator has
a state, so a training resumed from a checkpoint draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from qatbuild.exchange.errors import StageError

v1 = tf.compat.v1
Activation = Callable[..., tf.Tensor] | None
Initializer = Callable[..., tf.Tensor]
Normalization = Callable[[tf.Tensor], tf.Tensor] | None


def truncated_normal(stddev: float) -> Initializer:
    """Returns normal values with mean 0, redrawn beyond two standard deviations, from the graph's seed and the name."""

    def initial(shape: Sequence[int], dtype: tf.DType = tf.float32, **_: Any) -> tf.Tensor:
        name = v1.get_default_graph().get_name_scope()
        return tf.random.stateless_truncated_normal(shape, _seed(name), 0.0, stddev, dtype)

    return initial


def variance_scaling(gain: float = 2.0) -> Initializer:
    """Returns truncated normal values with variance gain / fan-in: gain 2 keeps the variance through ReLU.

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
    bias: float | None = 0.0,
    norm: Normalization = None,
) -> tf.Tensor:
    """Convolves, adds bias or not, normalizes, activates: [n, h, w, c] -> [n, ceil(h/stride), ceil(w/stride), f]."""
    with v1.variable_scope(scope, use_resource=True):
        kernel = _weights("weights", [size_px, size_px, net.shape[-1], filters], weights)
        net = tf.nn.conv2d(net, kernel, strides=stride, padding="SAME", name="Conv2D")
        return _finish(net, bias, activation, norm)


def depthwise(
    net: tf.Tensor,
    size_px: int,
    *,
    scope: str,
    stride: int = 1,
    activation: Activation = tf.nn.relu6,
    weights: Initializer | None = None,
    bias: float | None = 0.0,
    norm: Normalization = None,
) -> tf.Tensor:
    """Convolves each channel with one filter, like `conv`: [n, h, w, c] -> [n, ceil(h/stride), ceil(w/stride), c]."""
    with v1.variable_scope(scope, use_resource=True):
        kernel = _weights("depthwise_weights", [size_px, size_px, net.shape[-1], 1], weights)
        strides = [1, stride, stride, 1]
        net = v1.nn.depthwise_conv2d_native(net, kernel, strides, "SAME", name="depthwise")
        return _finish(net, bias, activation, norm)


def dense(
    net: tf.Tensor,
    units: int,
    *,
    scope: str,
    activation: Activation = tf.nn.relu,
    weights: Initializer | None = None,
    bias: float = 0.0,
) -> tf.Tensor:
    """Multiplies by weights, adds a bias that begins as `bias`, activates: [batch, features] -> [batch, units]."""
    with v1.variable_scope(scope, use_resource=True):
        kernel = _weights("weights", [net.shape[-1], units], weights)
        return _finish(tf.matmul(net, kernel, name="MatMul"), bias, activation)


def batch_norm(*, training: bool, decay: float = 0.99, epsilon: float = 1e-3) -> Callable[[tf.Tensor], tf.Tensor]:
    """Normalizes a layer's batch, for its parameter `norm`: y = gamma (x - mean) / sqrt(variance + epsilon) + beta.

    Ioffe and Szegedy 2015, arXiv:1502.03167. In training, mean and variance are the batch's, over all dimensions but
    the last, and UPDATE_OPS updates the moving averages: m <- m decay + batch (1 - decay). In inference, mean and
    variance are the moving averages.
    """

    def normalize(net: tf.Tensor) -> tf.Tensor:
        shape = [net.shape[-1]]
        with v1.variable_scope("BatchNorm"):
            gamma = v1.get_variable("gamma", shape, tf.float32, v1.ones_initializer())
            beta = v1.get_variable("beta", shape, tf.float32, v1.zeros_initializer())
            mean = v1.get_variable("moving_mean", shape, tf.float32, v1.zeros_initializer(), trainable=False)
            variance = v1.get_variable("moving_variance", shape, tf.float32, v1.ones_initializer(), trainable=False)
            if not training:
                net, *_ = v1.nn.fused_batch_norm(net, gamma, beta, mean, variance, epsilon, is_training=False)
                return net
            net, *observed = v1.nn.fused_batch_norm(net, gamma, beta, epsilon=epsilon, is_training=True)
            for average, batchs in zip((mean, variance), observed, strict=True):
                update = v1.assign_sub(average, (average - batchs) * (1 - decay))
                v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, update)
            return net

    return normalize


def max_pool(net: tf.Tensor, size_px: int, *, scope: str) -> tf.Tensor:
    """Returns the maximum of squares of `size_px` without overlap: [batch, h, w, c] -> [batch, h//size, w//size, c]."""
    with v1.variable_scope(scope):
        return tf.nn.max_pool2d(net, size_px, size_px, padding="VALID", name="MaxPool")


def global_average_pool(net: tf.Tensor, *, scope: str) -> tf.Tensor:
    """Returns the mean over all pixels: [batch, h, w, c] -> [batch, 1, 1, c]."""
    with v1.variable_scope(scope):
        size = net.shape[1:3].as_list()
        return tf.nn.avg_pool2d(net, size, size, padding="VALID", name="AvgPool")


def flatten(net: tf.Tensor, *, scope: str = "Flatten") -> tf.Tensor:
    """Reshapes [batch, h, w, c] -> [batch, h*w*c], with a constant shape, which every converter accepts."""
    with v1.variable_scope(scope):
        return tf.reshape(net, [-1, int(net.shape[1:].num_elements())], name="Reshape")


def dropout(net: tf.Tensor, keep: float, *, training: bool, scope: str) -> tf.Tensor:
    """In training, zero each value with probability 1 - keep and divide the others by keep; else return them unchanged.

    Srivastava et al. 2014, in the form that scales in training, so that inference needs no scaling. The dropped values
    depend on the graph's seed, the scope and the global step only.
    """
    if not training:
        return net
    with v1.variable_scope(scope) as variable_scope:
        kept = tf.random.stateless_uniform(tf.shape(net), step_seed(variable_scope.name)) < keep
        return tf.multiply(net, tf.cast(kept, net.dtype) / keep, name="mul")


def step_seed(name: str) -> tf.Tensor:
    """Returns a seed for the noise of this step: int64 [2], fixed by the graph's seed, a name and the global step."""
    step = tf.cast(v1.train.get_or_create_global_step(), tf.int64)
    return tf.stack([sum(_seed(name)), step])


def require_pixels(images: tf.Tensor, *, network: str, least_px: int) -> None:
    """Raises StageError unless images are at least `least_px` high and wide."""
    height, width, channels = images.shape[1:]
    if min(height, width) < least_px:
        facts = [
            ("network", network),
            ("images", f"{height}x{width}x{channels}"),
            ("wanted", f"at least {least_px}x{least_px} pixels"),
        ]
        hint = "Choose another network, or a dataset with larger images."
        raise StageError("The network cannot take images of this shape.", facts, hint)


def _weights(name: str, shape: Sequence[int], initial: Initializer | None) -> tf.Variable:
    return v1.get_variable(name, shape, tf.float32, initial or variance_scaling())


def _finish(net: tf.Tensor, bias: float | None, activation: Activation, norm: Normalization = None) -> tf.Tensor:
    if bias is not None:
        biases = v1.get_variable("biases", [net.shape[-1]], tf.float32, v1.constant_initializer(bias))
        net = tf.nn.bias_add(net, biases, name="BiasAdd")
    net = net if norm is None else norm(net)
    return net if activation is None else activation(net)


def _seed(name: str) -> tuple[int, int]:
    """Returns the graph's seed (0 without one) and a number that is fixed by a name."""
    return (v1.get_default_graph().seed or 0, zlib.crc32(name.encode()))
