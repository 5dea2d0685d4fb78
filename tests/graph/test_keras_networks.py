"""Networks of Keras layers become fully integer, and the fake-quantized graph and the emulator predict the runtime."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import rewrite_inference, rewrite_training
from qatbuild.worker import graph_def
from qatbuild.worker.tflite import emulator, inspect
from qatbuild.worker.tflite import layers as figures
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.tflite.pairing import IndexedGraph
from tests.graph.integer_runtime import IMAGES, converted, network_graph, options, reals
from tests.graph.keras_networks import NETWORKS
from tests.tflite.running import int8

pytestmark = pytest.mark.tf

BOTH = ("causal", "clipped", "gru", "joined", "prelu", "prelu_axes", "transposed")
CASES = [(name, "uint8") for name in NETWORKS] + [(name, "int8_per_channel") for name in BOTH]

# The operators of the files, without those that compute shapes.
LAYERS = {
    "bare_norms": "CONV_2D DEPTHWISE_CONV_2D CONV_2D FULLY_CONNECTED",
    "causal": "CONV_2D CONV_2D CONV_2D MEAN FULLY_CONNECTED",
    "clipped": "CONV_2D CONV_2D CONV_2D ADD FULLY_CONNECTED",
    "conv1d": "CONV_2D MAX_POOL_2D CONV_2D DEPTHWISE_CONV_2D DEPTHWISE_CONV_2D CONV_2D MEAN FULLY_CONNECTED",
    "dilated": "CONV_2D CONV_2D CONV_2D CONV_2D MEAN FULLY_CONNECTED",
    "dilated_bias": "CONV_2D DEPTHWISE_CONV_2D DEPTHWISE_CONV_2D DEPTHWISE_CONV_2D CONV_2D CONV_2D FULLY_CONNECTED",
    "grouped": "CONV_2D MEAN FULLY_CONNECTED",
    "prelu": "CONV_2D PRELU CONV_2D PRELU FULLY_CONNECTED PRELU FULLY_CONNECTED",
    "prelu_axes": "CONV_2D PRELU CONV_2D PRELU CONV_2D PRELU CONV_2D PRELU FULLY_CONNECTED",
    "prelus": "CONV_2D PRELU CONV_2D PRELU FULLY_CONNECTED",
    "transposed": "TRANSPOSE_CONV TRANSPOSE_CONV MEAN FULLY_CONNECTED",
    "transposed1d": "TRANSPOSE_CONV MEAN FULLY_CONNECTED",
}  # fmt: skip
SHAPES = {"SHAPE", "STRIDED_SLICE", "PACK", "RESHAPE", "EXPAND_DIMS", "SQUEEZE", "PAD", "SLICE"}


BLIND = {
    "called_twice": {"LOGISTIC", "PACK"},  # the graph has two results where the .tflite has one
    "clipped_pixels": {"RESHAPE"},  # its values are already those of the layer in front
    "frame_by_frame": {"PACK", "RESHAPE", "STRIDED_SLICE"},  # values whose first dimension is not that of the images
    "lstm": {"FULLY_CONNECTED"},  # both directions read the same steps, of which the converter cuts each once
    "normed_everywhere": {"RESHAPE"},  # to 1 x 1 pixels and back
}
"""The operators that have nothing to be compared with."""


def operators(path):
    """The rows of the operators of a .tflite beside the frozen graph that it was made of."""
    frozen = IndexedGraph(graph_def.read(path.with_name("frozen.pb")))
    with contextlib.ExitStack() as sessions:

        def opened(graph):
            return sessions.enter_context(tf.compat.v1.Session(graph=graph)).run

        graphs, named = {"fake_quant": frozen, "float": frozen}, (["input"], ["output"])
        model = inspect.read(path)
        images = IMAGES if model.tensors[model.inputs[0]].dtype == "uint8" else int8(IMAGES)
        integers, feeds = {"input": images[:4]}, {"input:0": reals()[:4]}
        inputs = {"input": "input"}
        return figures.measure(path, named, integers, feeds, graphs, model=model, inputs=inputs, opened=opened).rows


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_keras_network_is_integer_and_its_graph_predicts_it(name, scheme, tmp_path):
    outcome = converted(NETWORKS[name], tmp_path, scheme)
    assert outcome.unsupported == ()
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(outcome.operators)
    rows = operators(outcome.path)
    steps = {row["name"]: row["max_lsb"]["same_inputs"] for row in rows if row["max_lsb"]["same_inputs"] is not None}
    assert {layer: most for layer, most in steps.items() if most > 1.05} == {}
    assert {row["operator"] for row in rows if row["max_lsb"]["same_inputs"] is None} <= BLIND.get(name, set())
    # The logits see what is left of all layers' steps.
    assert outcome.lsb.mean() < 1.2
    assert outcome.lsb.max() <= 8
    assert len(np.unique(outcome.tflite)) > 10
    if name in LAYERS:
        layers = [each for each in outcome.operators if each not in SHAPES]
        assert (
            " ".join(layers if name != "transposed1d" else [each for each in layers if each != "CONCATENATION"])
            == (LAYERS[name])
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_training_and_inference_graph_learn_and_read_the_same_ranges(name):
    ranges = []
    for training in (True, False):
        graph, logits = network_graph(NETWORKS[name], training=training, dropout=False)
        function = rewrite_training if training else rewrite_inference
        report = function(graph, options(), input="input", logits=logits)
        ranges.append({each.min_variable for each in report.quantized})
    assert ranges[0] == ranges[1]


@pytest.mark.parametrize("scheme", ["uint8", "int8"])
def test_the_emulator_computes_prelu_like_the_reference_kernels(scheme, tmp_path):
    path = converted(NETWORKS["prelu"], tmp_path, scheme).path
    graph = emulator.read(path)
    images = IMAGES if scheme == "uint8" else int8(IMAGES)
    reference = Model(path, kernels="reference", keep=True)
    indices = [operator.outputs[0].index for operator in graph.operators if operator.name == "PRELU"]
    mine, theirs = emulator.run(path, images), reference.tensors({"input": images}, indices)
    for index in indices:
        np.testing.assert_array_equal(mine[index], theirs[index], graph.tensors[index].name)
