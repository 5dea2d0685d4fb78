"""Means over axes have ranges of their own: no mean of a few quantized values is then halfway between two others."""

from __future__ import annotations

import pytest
import tensorflow as tf

from qatbuild.quantize import Options, rewrite_inference
from tests.graph.networks import layer, v1

pytestmark = pytest.mark.tf


def ranges_of(size, mode="integer", **axes):
    """The range variables of a layer and of the mean behind it, of images with this height and width."""
    with tf.Graph().as_default() as graph:
        value = layer(v1.placeholder(tf.float32, [None, size, size, 4], name="input"), "conv")
        value = tf.reduce_mean(value, **axes)
        tf.identity(layer(value, "last", activation="none"), name="logits")
        report = rewrite_inference(graph, Options(mean=0, std_dev=1, mode=mode), input="input", logits="logits")
    rows = {row.role: row.max_variable for row in report.quantized if "last" not in row.layer}
    return rows["act_quant"], rows.get("mean_quant")


@pytest.mark.parametrize("axis", [[1, 2], [1], [2]], ids=str)
def test_a_mean_of_several_values_has_a_range_of_its_own(axis):
    of_layer, of_mean = ranges_of(2, axis=axis, keepdims=True)
    assert of_mean not in {None, of_layer}


def test_a_mean_of_one_value_which_the_converter_leaves_out_keeps_the_range():
    of_layer, of_mean = ranges_of(1, axis=[1, 2], keepdims=True)
    assert of_mean == of_layer


def test_mode_tf1_gives_a_mean_no_range():
    assert ranges_of(2, "tf1", axis=[1, 2], keepdims=True)[1] is None
