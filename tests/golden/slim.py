"""LeNet, CifarNet with LRN, and MobileNet v1 at 0.25/128, with slim's names for variables and operations.

The repository's own code: only the names, shapes and constants are slim's (tensorflow/models d4e1f97). The variables
are TF 1's (VariableV2) and the batch norms fused ones of the first version, because tf.contrib.quantize matched those.

`test_inventories.py` compares these graphs with slim's own float graphs where the golden folder is at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

v1 = tf.compat.v1

TRAINING_BATCH = 4
EPSILON = 0.001
BATCH_NORM_DECAY = 0.9997
SEPARABLE = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1))
"""MobileNet's pointwise filters at width 0.25, and the stride of the depthwise convolution before each."""


class Network(NamedTuple):
    """A network of this module: `build` maps images and `training` to logits."""

    build: Callable[..., Any]
    image: tuple[int, int, int]
    classes: int
    output: str
    """The tensor that reads the logits, float32 [batch, classes]: a rewrite puts the logits' FakeQuant before it."""


def graph(network: Network, mode: str) -> tf.Graph:
    """The float graph: `mode` "train" has a batch of 4, labels and a loss, "eval" any batch and no dropout."""
    training = mode == "train"
    result = tf.Graph()
    with result.as_default():
        if training:
            with scope(v1.get_variable_scope()):
                v1.train.get_or_create_global_step()
        images = v1.placeholder(tf.float32, [TRAINING_BATCH if training else None, *network.image], name="input")
        logits = network.build(images, training=training)
        if training:
            labels = v1.placeholder(tf.float32, [TRAINING_BATCH, network.classes], name="labels")
            loss = v1.losses.softmax_cross_entropy(labels, logits)
            v1.add_n([loss, *v1.losses.get_regularization_losses()], name="total_loss")
    return result


def lenet(images: tf.Tensor, *, training: bool) -> tf.Tensor:
    with scope("LeNet"):
        net = max_pool(conv(images, 32, 5, "conv1", decay=4e-5), "pool1")
        net = max_pool(conv(net, 64, 5, "conv2", decay=4e-5), "pool2")
        net = dense(flatten(net), 1024, "fc3", decay=4e-5)
        net = dropout(net, 0.5, "dropout3", training=training)
        logits = dense(net, 10, "fc4", decay=4e-5, activation=False)
    return predict(logits)


def cifarnet_lrn(images: tf.Tensor, *, training: bool) -> tf.Tensor:
    with scope("CifarNet"):
        net = normalize(max_pool(conv(images, 64, 5, "conv1"), "pool1"), "norm1")
        net = max_pool(normalize(conv(net, 64, 5, "conv2"), "norm2"), "pool2")
        net = dropout(dense(flatten(net), 384, "fc3", decay=0.004), 0.5, "dropout3", training=training)
        net = dense(net, 192, "fc4", decay=0.004)
        return predict(dense(net, 10, "logits", activation=False))


def mobilenet_v1_025_128(images: tf.Tensor, *, training: bool) -> tf.Tensor:
    # slim enters the scope twice: operations are called MobilenetV1/MobilenetV1/..., variables MobilenetV1/...
    with scope("MobilenetV1") as outer:
        with scope(outer):
            net = normed_conv(images, 8, 3, "Conv2d_0", stride=2, training=training)
            for number, (filters, stride) in enumerate(SEPARABLE, start=1):
                net = normed_depthwise(net, f"Conv2d_{number}_depthwise", stride=stride, training=training)
                net = normed_conv(net, filters, 1, f"Conv2d_{number}_pointwise", training=training)
        with scope("Logits"):
            with scope("AvgPool_1a"):
                net = tf.nn.avg_pool2d(net, 4, 2, "VALID", name="AvgPool")
            net = dropout(net, 0.999, "Dropout_1b", training=training)
            net = conv(net, 1001, 1, "Conv2d_1c_1x1", decay=4e-5, activation=False)
            logits = tf.squeeze(net, [1, 2], name="SpatialSqueeze")
        return predict(logits)


NETWORKS = {
    "lenet": Network(lenet, (28, 28, 1), 10, "Predictions/Reshape:0"),
    "cifarnet_lrn": Network(cifarnet_lrn, (32, 32, 3), 10, "CifarNet/Predictions/Reshape:0"),
    "mobilenet_v1_025_128": Network(mobilenet_v1_025_128, (128, 128, 3), 1001, "MobilenetV1/Predictions/Reshape:0"),
}


def scope(name: Any) -> Any:
    """A scope of TF 1 variables: a name, or a scope to enter once more."""
    return v1.variable_scope(name, use_resource=False)


def variable(name: str, shape: Sequence[int], initial: float | None = None, *, trainable: bool = True) -> tf.Tensor:
    """A TF 1 variable; `initial` None draws small values from a normal distribution."""
    initializer = v1.truncated_normal_initializer(stddev=0.1) if initial is None else v1.constant_initializer(initial)
    return v1.get_variable(name, shape, tf.float32, initializer, trainable=trainable)


def weights(name: str, shape: Sequence[int], decay: float | None) -> tf.Tensor:
    """A kernel, its weight decay (None: none) among the graph's regularization losses."""
    kernel = variable(name, shape)
    if decay is not None:
        with v1.name_scope(f"{v1.get_default_graph().get_name_scope()}/kernel/Regularizer/l2_regularizer/") as own:
            loss = v1.multiply(tf.constant(decay, name="scale"), tf.nn.l2_loss(kernel, name="L2Loss"), name=own)
        v1.losses.add_loss(loss, v1.GraphKeys.REGULARIZATION_LOSSES)
    return kernel


def conv(
    net: tf.Tensor, filters: int, size: int, name: str, *, decay: float | None = None, activation: bool = True
) -> tf.Tensor:
    with scope(name):
        kernel = weights("weights", [size, size, net.shape[-1], filters], decay)
        net = tf.nn.conv2d(net, kernel, 1, "SAME", name="Conv2D")
        return biased(net, activation=activation)


def dense(net: tf.Tensor, units: int, name: str, *, decay: float | None = None, activation: bool = True) -> tf.Tensor:
    with scope(name):
        kernel = weights("weights", [net.shape[-1], units], decay)
        return biased(tf.matmul(net, kernel, name="MatMul"), activation=activation)


def biased(net: tf.Tensor, *, activation: bool) -> tf.Tensor:
    net = tf.nn.bias_add(net, variable("biases", [net.shape[-1]], 0.0), name="BiasAdd")
    return tf.nn.relu(net, name="Relu") if activation else net


def normed_conv(net: tf.Tensor, filters: int, size: int, name: str, *, stride: int = 1, training: bool) -> tf.Tensor:
    with scope(name):
        kernel = weights("weights", [size, size, net.shape[-1], filters], 4e-5)
        net = tf.nn.conv2d(net, kernel, stride, "SAME", name="Conv2D")
        return tf.nn.relu6(batch_norm(net, training=training), name="Relu6")


def normed_depthwise(net: tf.Tensor, name: str, *, stride: int, training: bool) -> tf.Tensor:
    with scope(name):
        kernel = weights("depthwise_weights", [3, 3, net.shape[-1], 1], None)
        net = v1.nn.depthwise_conv2d_native(net, kernel, [1, stride, stride, 1], "SAME", name="depthwise")
        return tf.nn.relu6(batch_norm(net, training=training), name="Relu6")


def batch_norm(net: tf.Tensor, *, training: bool) -> tf.Tensor:
    channels = [net.shape[-1]]
    with scope("BatchNorm"):
        gamma, beta = variable("gamma", channels, 1.0), variable("beta", channels, 0.0)
        moving = [
            variable("moving_mean", channels, 0.0, trainable=False),
            variable("moving_variance", channels, 1.0, trainable=False),
        ]
        mean, variance = [tf.constant([]), tf.constant([])] if training else moving
        net, *statistics = tf.raw_ops.FusedBatchNorm(
            x=net, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=EPSILON, is_training=training,
            name="FusedBatchNorm",
        )[:3]  # fmt: skip
        decay = tf.constant(BATCH_NORM_DECAY)
        if training:
            for average, statistic in zip(moving, statistics, strict=True):
                v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, assign_moving_average(average, statistic, decay))
        return net


def assign_moving_average(average: tf.Tensor, statistic: tf.Tensor, decay: tf.Tensor) -> tf.Tensor:
    with v1.name_scope("AssignMovingAvg") as own:
        rest = tf.subtract(1.0, decay, name="sub")
        difference = tf.subtract(average, statistic, name="sub_1")
        return v1.assign_sub(average, tf.multiply(difference, rest, name="mul"), name=own)


def max_pool(net: tf.Tensor, name: str) -> tf.Tensor:
    with scope(name):
        return tf.nn.max_pool2d(net, 2, 2, "VALID", name="MaxPool")


def normalize(net: tf.Tensor, name: str) -> tf.Tensor:
    return tf.nn.lrn(net, 4, bias=1.0, alpha=0.001 / 9.0, beta=0.75, name=name)


def flatten(net: tf.Tensor) -> tf.Tensor:
    with scope("Flatten"), v1.name_scope("flatten"):
        batch = tf.shape(net)[0]
        return tf.reshape(net, tf.stack([batch, net.shape[1:].num_elements()], name="Reshape/shape"), name="Reshape")


def dropout(net: tf.Tensor, keep: float, name: str, *, training: bool) -> tf.Tensor:
    with scope(name):
        if not training:
            return tf.identity(net, name="Identity")
        with v1.name_scope("dropout"):
            keep_prob = tf.constant(keep, name="keep_prob")
            kept = tf.floor(tf.raw_ops.Add(x=keep_prob, y=tf.random.uniform(tf.shape(net)), name="add"), name="Floor")
            return tf.multiply(tf.realdiv(net, keep_prob, name="div"), kept, name="mul")


def predict(logits: tf.Tensor) -> tf.Tensor:
    """Adds a softmax over the last dimension and returns the logits."""
    with scope("Predictions"):
        flat = tf.nn.softmax(tf.reshape(logits, [-1, logits.shape[-1]], name="Reshape"), name="Softmax")
        tf.reshape(flat, tf.shape(logits), name="Reshape_1")
    return logits
