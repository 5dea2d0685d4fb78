"""Networks with one special feature each: functions of an image batch [n, 8, 8, 4] and of `training`."""

from __future__ import annotations

import tensorflow as tf

from tests.graph.networks import batch_norm, folding_layer, layer, v1, variable

LINEAR = {"activation": "none"}


def plain(x, training):
    return folding_layer(x, "conv", training=training)


def inverted_residual(x, training):
    x = folding_layer(x, "stem", activation="relu6", channels=8, training=training)
    y = folding_layer(x, "expand", activation="relu6", channels=16, training=training)
    y = folding_layer(y, "depthwise", "depthwise", activation="relu6", training=training)
    return x + folding_layer(y, "project", activation="identity", channels=8, training=training)


def inception(x, training):
    """Two modules: concatenations that meet through a max pool, an average pool in a branch."""
    x = folding_layer(x, "stem", training=training)
    pooled = tf.nn.avg_pool2d(x, 3, 1, "SAME")
    x = tf.concat([
        folding_layer(x, "b0", training=training),
        folding_layer(folding_layer(x, "b1", training=training), "b2", training=training),
        folding_layer(pooled, "b3", training=training),
        tf.nn.max_pool2d(x, 3, 1, "SAME"),
    ], 3)  # fmt: skip
    return tf.concat([folding_layer(x, "c0", training=training), tf.nn.max_pool2d(x, 3, 1, "SAME")], 3)


def dense_block(x, training):
    """Each layer's output is joined with its own input."""
    x = folding_layer(x, "stem", training=training)
    for number in range(3):
        x = tf.concat([x, folding_layer(x, f"layer{number}", training=training)], 3)
    return tf.reduce_mean(x, [1, 2])


def pre_activation(x, training):
    x = layer(x, "stem", channels=8, **LINEAR)
    for unit in ("unit1", "unit2"):
        with v1.variable_scope(unit):
            y = tf.nn.relu(batch_norm(x, training=training))
            y = folding_layer(y, "conv1", channels=8, training=training)
            x += layer(y, "conv2", channels=8, **LINEAR)
    with v1.variable_scope("post"):
        x = tf.nn.relu(batch_norm(x, "unfused", training=training))
    return tf.reduce_mean(x, [1, 2])


def squeeze_and_excite(x, training):
    x = folding_layer(x, "stem", channels=8, training=training)
    gate = layer(tf.reduce_mean(x, [1, 2], keepdims=True), "squeeze")
    return x * tf.sigmoid(layer(gate, "excite", channels=8, **LINEAR))


def hard_swishes(x, training):
    """Hard-swish in three spellings, and the hard-sigmoid of MobileNetV3 alone."""
    x = folding_layer(x, "stem", channels=8, training=training, **LINEAR)
    x = x * tf.nn.relu6(x + 3.0) / 6.0
    x = folding_layer(x, "middle", channels=8, training=training, **LINEAR)
    x = x * (tf.nn.relu6(x + 3.0) * (1 / 6))
    x = folding_layer(x, "last", "depthwise", training=training, **LINEAR)
    x = (tf.nn.relu6(x + tf.constant(3.0)) / tf.constant(6.0)) * x
    gate = layer(tf.nn.avg_pool2d(x, 8, 1, "VALID"), "gate", channels=8, **LINEAR)
    return x * (tf.nn.relu6(gate + 3.0) * (1 / 6))


def leaky(x, training):
    x = tf.nn.leaky_relu(folding_layer(x, "conv1", training=training, **LINEAR))
    return tf.nn.leaky_relu(layer(x, "conv2", bias="none", **LINEAR), 0.1)


def separable(x, training):
    for number in range(2):
        x = folding_layer(x, f"depthwise{number}", "depthwise", activation="relu6", training=training)
        x = folding_layer(x, f"pointwise{number}", activation="relu6", channels=8, training=training)
    return tf.squeeze(tf.nn.avg_pool2d(x, 8, 1, "VALID"), [1, 2])


def residual(x, training):
    x = folding_layer(x, "stem", channels=8, training=training)
    y = folding_layer(
        folding_layer(x, "a", channels=8, training=training), "b", channels=8, training=training, **LINEAR
    )
    x = tf.nn.relu(y + x)
    y = folding_layer(x, "c", channels=8, training=training, **LINEAR)
    x = tf.nn.relu(y + layer(x, "shortcut", channels=8, **LINEAR))
    return tf.nn.avg_pool2d(x, 8, 1, "VALID")


def upsampling(x, training):
    x = v1.image.resize_bilinear(folding_layer(x, "down", training=training), [16, 16])
    x = v1.image.resize_nearest_neighbor(folding_layer(x, "up1", training=training), [32, 32])
    return tf.nn.max_pool2d(layer(x, "up2"), 4, 4, "SAME")


def gated(x, training):
    return tf.sigmoid(folding_layer(x, "gate", training=training, **LINEAR)) * tf.tanh(layer(x, "value", **LINEAR))


def dense_only(x, training):
    x = layer(tf.reshape(x, [-1, 256]), "first", "dense", channels=32)
    return folding_layer(x, "second", "dense", channels=16, training=training)


def activation_beside_its_input(x, training):
    x = folding_layer(x, "first", training=training, **LINEAR)
    return layer(tf.nn.relu6(x), "second", **LINEAR) + tf.nn.relu(x)


def moves(x, training):
    x = tf.pad(plain(x, training), [[0, 0], [1, 1], [1, 1], [0, 0]])[:, 1:9, 1:9, :]
    left, right = tf.split(x, 2, 3)
    x = tf.transpose(tf.concat([right, left], 3), [0, 2, 1, 3])
    return tf.identity(tf.nn.space_to_depth(tf.nn.max_pool2d(x, 2, 1, "SAME"), 2))


def arithmetic(x, training):
    """Arithmetic with numbers, with trained vectors, and with another layer."""
    x = plain(x, training) * 0.5 + 1.0
    x = tf.nn.relu(x * (1.0 + variable("scale", [4])) + variable("shift", [4]))
    return layer(x / 8.0, "other", bias="none", activation="tanh") - x / 3.0


def swish(x, training):
    return tf.nn.silu(plain(x, training))


def transposed(x, training):
    with v1.variable_scope("up"):
        weights, biases = variable("weights", [3, 3, 4, 4]), variable("biases", [4])
        x = tf.nn.conv2d_transpose(plain(x, training), weights, [tf.shape(x)[0], 16, 16, 4], 2, name="transposed")
        return tf.nn.relu(tf.nn.bias_add(x, biases))


def normalized_twice(x, training):
    """Two batch norms in a row: the first is folded, the second becomes a layer."""
    x = folding_layer(x, "conv", training=training, **LINEAR)
    with v1.variable_scope("second"):
        x = batch_norm(x, training=training)
    with v1.variable_scope("third"):
        return tf.nn.relu(batch_norm(x, "unfused", training=training))


def dilated(x, training):
    with v1.variable_scope("dilated"):
        x = tf.nn.conv2d(x, variable("weights", [3, 3, 4, 4]), 1, "SAME", dilations=2, name="Conv2D")
        return tf.nn.relu6(batch_norm(x, training=training))


NETWORKS = {
    each.__name__: each
    for each in (
        plain, inverted_residual, inception, dense_block, pre_activation, squeeze_and_excite, hard_swishes, leaky,
        separable, residual, upsampling, gated, dense_only, activation_beside_its_input, moves, arithmetic, swish,
        transposed, dilated, normalized_twice,
    )
}  # fmt: skip
