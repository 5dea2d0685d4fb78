"""Small networks in TF 1 style, and what a rewrite put into their graphs."""

from __future__ import annotations

import tensorflow as tf

v1 = tf.compat.v1

ACTIVATIONS = {"relu": tf.nn.relu, "relu6": tf.nn.relu6, "identity": tf.identity, "tanh": tf.nn.tanh}


def images(shape=(2, 6, 6, 3)):
    return v1.placeholder(tf.float32, shape, name="input")


def layer(value, name, kind="conv", bias="bias_add", activation="relu", variables="resource", channels=4):  # noqa: PLR0917
    """A layer in the name scope `name`; its operations are Conv2D, depthwise or MatMul, BiasAdd or add, Relu ..."""
    inputs = int(value.shape[-1])
    shape = {"conv": [3, 3, inputs, channels], "depthwise": [3, 3, inputs, 1], "dense": [inputs, channels]}[kind]
    with v1.variable_scope(name):
        weights = variable("weights", shape, variables)
        if kind == "conv":
            value = tf.nn.conv2d(value, weights, 1, "SAME", name="Conv2D")
        elif kind == "depthwise":
            value = tf.nn.depthwise_conv2d(value, weights, [1, 1, 1, 1], "SAME", name="depthwise")
        else:
            value = tf.matmul(value, weights, name="MatMul")
        if bias != "none":
            biases = variable("biases", [int(value.shape[-1])], variables)
            add = {"bias_add": tf.nn.bias_add, "add": v1.add, "addv2": tf.add}[bias]
            value = add(value, biases, name="biased")
        return value if activation == "none" else ACTIVATIONS[activation](value, name="activation")


def variable(name, shape, variables="resource"):
    start = v1.random_normal_initializer(stddev=0.3, seed=len(name))
    return v1.get_variable(name, shape, initializer=start, use_resource=variables == "resource")


def fake_quants(graph):
    """Each FakeQuant: name scope -> (the tensor it stands on, the operations that read its twin, gate seen through)."""
    found = {}
    for operation in graph.get_operations():
        if operation.type == "FakeQuantWithMinMaxVars":
            prefix = operation.name.rpartition("/")[0]
            twin = operation.outputs[0]
            for switch in twin.consumers():
                if switch.type == "Switch":
                    twin = switch.outputs[1].consumers()[0].outputs[0]
            found[prefix] = (operation.inputs[0].name, sorted(each.name for each in twin.consumers()))
    return found
