"""Networks that people complain about; the tests copy this module into a project, which calls them."""

# ruff: noqa: ARG001  The build calls each with the same arguments.

from __future__ import annotations

import os

import keras
import tensorflow as tf
from keras import layers
from tensorflow.compiler.tf2xla.python import xla

v1 = tf.compat.v1


def usual(images, classes, *, training):
    """A batch norm behind its layer, one behind a layer's own activation, branches that meet, a pool, dropout."""
    print(f"process {os.getpid()}")  # noqa: T201  Into the stage's log.
    source = keras.Input(images.shape[1:])
    net = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(source)
    net = layers.ReLU(name="stem_relu")(layers.BatchNormalization(momentum=0.9, name="stem_bn")(net))
    left = layers.Conv2D(8, 1, activation="relu", name="left")(net)
    right = layers.Conv2D(8, 3, padding="same", activation="relu", name="right")(net)
    right = layers.BatchNormalization(momentum=0.9, name="right_bn")(right)
    net = layers.MaxPooling2D(name="pool")(layers.Concatenate(name="both")([left, right]))
    net = layers.Dropout(0.2, name="dropout")(layers.Flatten(name="flat")(net))
    return keras.Model(source, layers.Dense(classes, name="scores")(net), name="net")


def batch_statistics(images, classes, *, training):
    """A batch norm that normalizes with each batch's own statistics, in inference too."""
    with v1.variable_scope("net"):
        net = tf.nn.conv2d(images, v1.get_variable("conv/weights", [3, 3, 1, 4]), strides=1, padding="SAME")
        scales = [v1.get_variable(f"conv/{name}", [4]) for name in ("gamma", "beta")]
        net = tf.nn.relu(v1.nn.fused_batch_norm(net, *scales, is_training=True, name="conv/norm")[0])
        return tf.matmul(tf.reshape(net, [-1, 256]), v1.get_variable("scores/weights", [256, classes]))


def without_layers(images, classes, *, training):
    """Some pixels times a factor: no weights that could be quantized."""
    return tf.reshape(images, [-1, 64])[:, :classes] * v1.get_variable("factor", [])


def fake_quantized(images, classes, *, training):
    """FakeQuants that the author wrote, as for another converter."""
    with v1.variable_scope("net"):
        net = tf.nn.conv2d(images, v1.get_variable("conv/weights", [3, 3, 1, 4]), strides=1, padding="SAME")
        net = tf.quantization.fake_quant_with_min_max_vars(tf.nn.relu(net), 0.0, 6.0, name="own_range")
        return tf.matmul(tf.reshape(net, [-1, 256]), v1.get_variable("scores/weights", [256, classes]))


def of_keras_2(images, classes, *, training):
    """What tf_keras calls its models, which tfmot asks for: the package itself is not installed with qatbuild."""
    model = type("Model", (), {"__module__": "tf_keras.src.engine.training"})
    return type("Functional", (model,), {"__module__": "tf_keras.src.engine.functional", "name": "old"})()


def of_pytorch(folder):
    """Save a network as the exporters of PyTorch and JAX do: one operation that holds a program in StableHLO."""

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1])])
    def network(images):
        (scores,) = xla.call_module(
            [images], version=9, module=b"stablehlo", Tout=[tf.float32], Sout=[[None, 10]], platforms=["CPU"]
        )
        return {"labels": scores}

    module = tf.Module()
    module.network = network
    tf.saved_model.save(module, folder, signatures=network)
