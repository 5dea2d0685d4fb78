"""Biases are rounded in the graph as the converter rounds them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import rewrite_inference
from qatbuild.quantize.integer.biases import rounded
from qatbuild.quantize.integer.learning import RangeTensors
from qatbuild.quantize.integer.range_plan import RangeSpec
from qatbuild.worker.tflite.inspect import load
from tests.graph.integer_runtime import converted, measured, network_graph, options, restore
from tests.graph.networks import folding_layer, layer, v1

pytestmark = pytest.mark.tf

BIAS = np.array([0.31, -1.7, 0.0, 2e-3], np.float32)
INPUT, WEIGHTS = RangeSpec("input"), RangeSpec("weights", narrow_range=True, symmetric=True)
ENDS = {"one range": (-0.5, 0.5), "a range a channel": (np.array([-1, -0.5, -2, -0.1]), np.array([1, 0.5, 2, 0.1]))}


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("training", [False, True])
def test_bias_is_the_nearest_multiple_of_the_product_of_both_scales(ends, training):
    low, high = np.array(ends, np.float32)
    step = np.float32(255 / 255) * ((high - low) / np.float32(254))
    with tf.Graph().as_default(), v1.Session() as session:
        bias = tf.constant(BIAS)
        input_range = INPUT, RangeTensors(tf.constant(0.0), tf.constant(255.0))
        weights_range = WEIGHTS, RangeTensors(tf.constant(low), tf.constant(high))
        result = rounded(bias, input_range, weights_range, training=training)
        values = session.run(result)
        gradient = session.run(tf.gradients(tf.reduce_sum(3 * result), bias)) if training else None
    np.testing.assert_allclose(values, np.round(BIAS / step) * step, rtol=1e-6, atol=1e-7)
    if training:
        np.testing.assert_array_equal(gradient, [[3, 3, 3, 3]])


def body(x, training):
    x = folding_layer(x, "first", channels=8, training=training)
    x = folding_layer(x, "second", kind="depthwise", bias="bias_add", training=training)
    return layer(x, "third", channels=8)


@pytest.mark.parametrize("scheme", ["uint8", "int8", "int8_per_channel"])
def test_biases_of_the_graph_equal_those_that_the_converter_writes(scheme, tmp_path):
    values, _ = measured(body, options(scheme))
    graph, logits = network_graph(body)
    rewrite_inference(graph, options(scheme), input="input", logits=logits)
    with graph.as_default(), v1.Session() as session:
        session.run(v1.global_variables_initializer())
        restore(session, values)
        names = [each.name for each in graph.get_operations() if each.name.endswith("bias_quant/rounded")]
        mine = session.run([f"{name}:0" for name in names])
    written = list(_biases(load(converted(body, tmp_path, scheme, values).path)))
    assert len(mine) == len(written) == 4
    for bias in mine:
        assert any(bias.shape == each.shape and np.allclose(bias, each, rtol=1e-5, atol=1e-7) for each in written)


def _biases(model):
    """The real values of the layers' third inputs."""
    (graph,) = model.subgraphs
    for operator in graph.operators:
        if len(operator.inputs) == 3:  # a layer
            tensor = graph.tensors[operator.inputs[2]]
            quantized = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int32)
            yield quantized * np.asarray(tensor.quantization.scale, np.float32)
