"""Networks with several inputs and ends, one of each kind of task."""

from __future__ import annotations

import tensorflow as tf

from tests.graph.ends_runtime import Ends
from tests.graph.networks import folding_layer, layer, v1, variable

LINEAR = {"activation": "none"}
PICTURE = (8, 8, 3)
BYTES = (0.0, 1.0)


def _dense(x, name, channels, **form):
    return layer(x, name, "dense", channels=channels, **form)


def two_heads(inputs, training):
    """Picture and feature vector; classes and a real number."""
    x = folding_layer(inputs["image"], "conv", training=training)
    x = tf.reduce_mean(x, [1, 2])
    y = _dense(inputs["features"], "dense", 6)
    x = _dense(tf.concat([x, y], 1), "joined", 8)
    return {
        "label": (_dense(x, "label", 5, **LINEAR), "softmax"),
        "value": (_dense(x, "value", 1, **LINEAR), "identity"),
    }


def joined_inputs(inputs, _):
    """Two inputs of different ranges, in a concatenation and in a sum."""
    x = tf.concat([inputs["one"], inputs["other"]], 1)
    return {"out": (_dense(x, "dense", 3, **LINEAR), "identity"), "both": (inputs["one"] + inputs["other"], "identity")}


def autoencoder(inputs, _):
    x = _dense(_dense(inputs["x"], "in", 8), "code", 3)
    return {"y": (_dense(x, "out", 12, **LINEAR), "identity"), "code": (x, "identity")}


def detector(inputs, training):
    """Boxes and scores of two feature maps, [n, anchors, 4] and [n, anchors, classes]."""
    x = folding_layer(inputs["image"], "stem", training=training)
    maps = [x, folding_layer(tf.nn.max_pool2d(x, 2, 2, "SAME"), "second", training=training)]
    boxes, scores = [], []
    for number, each in enumerate(maps):
        height, width = each.shape[1:3]
        boxes.append(tf.reshape(layer(each, f"boxes{number}", channels=2 * 4, **LINEAR), [-1, height * width * 2, 4]))
        scores.append(tf.reshape(layer(each, f"scores{number}", channels=2 * 3, **LINEAR), [-1, height * width * 2, 3]))
    return {
        "boxes": (tf.concat(boxes, 1, name="boxes"), "identity"),
        "scores": (tf.concat(scores, 1, name="scores"), "softmax"),
    }


def segmenter(inputs, training):
    x = folding_layer(inputs["image"], "stem", training=training)
    y = layer(tf.nn.max_pool2d(x, 2, 2, "SAME"), "down", **LINEAR)
    with v1.variable_scope("transposed"):
        shape = [tf.shape(y)[0], 8, 8, 3]
        z = tf.nn.conv2d_transpose(y, variable("weights", [2, 2, 3, 4]), shape, 2, "SAME")
        z = tf.nn.bias_add(z, variable("biases", [3]))
    return {
        "resized": (v1.image.resize_bilinear(y, [8, 8]), "identity"),
        "classes": (z, "identity"),
        "mask": (layer(x, "mask", channels=1, **LINEAR), "sigmoid"),
    }


def activations(inputs, _):
    """Ends that are also read inside the network, and those whose range the runtime dictates."""
    x = _dense(inputs["x"], "a", 4)
    y = tf.sigmoid(_dense(x, "b", 4, **LINEAR))
    return {
        "relu": (x, "identity"),
        "sigmoid": (y, "identity"),
        "softmax": (tf.nn.softmax(_dense(x, "c", 4, **LINEAR)), "identity"),
        "last": (_dense(y, "d", 2, **LINEAR), "identity"),
    }


def moved(inputs, _):
    x = layer(inputs["x"], "conv", **LINEAR)
    y = tf.reshape(x, [-1, 8 * 8 * 4])
    return {
        "reshaped": (y, "identity"),
        "pooled": (tf.nn.max_pool2d(x, 2, 2, "SAME"), "identity"),
        "last": (_dense(y, "dense", 3, **LINEAR), "sigmoid"),
    }


def passed(inputs, _):
    """An input that is also an output, a tensor with two results, ends that need the converter's spelling."""
    x = inputs["x"]
    y = _dense(tf.reshape(x, [-1, 6]), "a", 4, **LINEAR)
    return {
        "x": (x, "identity"),
        "y": (y, "identity"),
        "likely": (y, "softmax"),
        "negative": (-_dense(y, "b", 2, **LINEAR), "identity"),
        "square": (tf.square(y), "identity"),
    }


NETWORKS = {
    "two heads": Ends({"image": (PICTURE, BYTES), "features": ((6,), None)}, two_heads),
    "joined inputs": Ends({"one": ((6,), (-3.0, 5.0)), "other": ((6,), None)}, joined_inputs),
    "autoencoder": Ends({"x": ((12,), (-3.0, 5.0))}, autoencoder, {"y": (-4.0, 4.0)}),
    "detector": Ends({"image": (PICTURE, BYTES)}, detector, {"boxes": (-2.0, 2.0)}),
    "segmenter": Ends({"image": (PICTURE, BYTES)}, segmenter),
    "activations": Ends({"x": ((6,), None)}, activations),
    "moved": Ends({"x": (PICTURE, None)}, moved),
    "passed": Ends({"x": ((2, 3), None)}, passed),
}
