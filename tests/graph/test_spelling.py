"""Networks that random ones have shown: the converter computed a part of them in float, or their rewrite failed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.graph.integer_networks import plain
from tests.graph.integer_runtime import converted
from tests.graph.networks import batch_norm, v1, variable

pytestmark = pytest.mark.tf


def transposed_with_zero_biases(x, training):
    with v1.variable_scope("up"):
        zeros = v1.get_variable("biases", [4], initializer=v1.zeros_initializer(), use_resource=True)
        shape = [tf.shape(x)[0], 16, 16, 4]
        x = tf.nn.conv2d_transpose(plain(x, training), variable("weights", [3, 3, 4, 4]), shape, 2)
        return tf.nn.relu6(tf.nn.bias_add(x, zeros))


def one_number_as_bias(x, training):  # noqa: ARG001
    with v1.variable_scope("conv"):
        return tf.nn.relu6(tf.nn.conv2d(x, variable("weights", [3, 3, 4, 8]), 1, "SAME") + 0.5)


def dense_on_images_with_batch_norm_and_prelu(x, training):
    with v1.variable_scope("pixels"):
        x = batch_norm(tf.tensordot(x, variable("weights", [4, 6]), 1), training=training)
        return tf.nn.relu(x) - variable("slopes", [6]) * tf.nn.relu(-x)


@pytest.mark.parametrize(
    ("network", "operators"),
    [
        (transposed_with_zero_biases, {"CONV_2D", "TRANSPOSE_CONV"}),
        (one_number_as_bias, {"CONV_2D"}),
        (dense_on_images_with_batch_norm_and_prelu, {"FULLY_CONNECTED", "PRELU"}),
    ],
)
def test_network_is_integer_and_has_no_operator_for_parts_of_a_layer(network, operators, tmp_path):
    outcome = converted(network, tmp_path, "int8_per_channel")
    assert outcome.unsupported == ()
    assert set(outcome.operators) - {"RESHAPE", "FULLY_CONNECTED"} == operators - {"FULLY_CONNECTED"}
    assert np.mean(outcome.lsb) < 1.2
    assert outcome.lsb.max() <= 8
