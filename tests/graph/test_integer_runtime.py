"""Networks of mode integer are fully integer, and the fake-quantized graph predicts the runtime's values."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import Override
from tests.graph.integer_networks import NETWORKS
from tests.graph.integer_runtime import converted
from tests.graph.networks import folding_layer, layer

pytestmark = pytest.mark.tf

FEW = ("inverted_residual", "inception", "pre_activation", "squeeze_and_excite", "hard_swishes", "transposed")
CASES = [(name, "uint8") for name in NETWORKS] + [(name, "int8_per_channel") for name in FEW] + [("residual", "int8")]


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_network_is_integer_and_its_graph_predicts_it(name, scheme, tmp_path):
    outcome = converted(NETWORKS[name], tmp_path, scheme)
    assert outcome.unsupported == ()
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(outcome.operators)
    # One step a layer, given the same inputs; the logits see what is left of all layers'.
    assert outcome.lsb.mean() < 1.2
    assert outcome.lsb.max() <= 8
    assert outcome.argmax_percent >= 95
    assert len(np.unique(outcome.tflite)) > 10


def test_a_swish_is_one_sigmoid_and_one_product(tmp_path):
    outcome = converted(NETWORKS["swish"], tmp_path)
    assert [each for each in outcome.operators if each in {"LOGISTIC", "MUL"}] == ["LOGISTIC", "MUL"]
    assert [each.role for each in outcome.report.quantized].count("mul_quant") == 1


def three(x, training):
    x = folding_layer(x, "first", training=training)
    return layer(layer(x, "second"), "third")


def test_exactly_the_reported_layers_stay_float(tmp_path):
    outcome = converted(three, tmp_path, overrides=(Override("second", keep_float=True),))
    assert [(each.layer, each.reason) for each in outcome.report.left_float] == [
        ("second", "the override second keeps it in float"),
        ("third", "its input is float"),
    ]
    assert outcome.unsupported == ()
    assert outcome.operators.count("DEQUANTIZE") == outcome.operators.count("QUANTIZE") == 1
    assert outcome.lsb.max() <= 1


def test_an_activation_outside_of_its_layers_scope_is_reported_as_float_too(tmp_path):
    def network(x, training):
        x = folding_layer(layer(x, "first"), "second", activation="none", training=training)
        return tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "SAME")

    outcome = converted(network, tmp_path, overrides=(Override("second", keep_float=True),))
    assert outcome.unsupported == ()
    assert outcome.lsb.max() <= 1


def test_a_fixed_range_is_in_the_file(tmp_path):
    outcome = converted(three, tmp_path, overrides=(Override("sec*", range=(0.0, 2.0)), Override("second", bits=8)))
    (row,) = [each for each in outcome.report.quantized if each.layer == "second" and each.role == "act_quant"]
    assert row.fixed == (0.0, 2.0)
    assert outcome.unsupported == ()
    assert outcome.lsb.max() <= 1


@pytest.mark.parametrize("kernels", ["reference", "xnnpack"])
@pytest.mark.parametrize("bits", [4, 6])
def test_weights_of_fewer_bits_compute_correctly_in_int8(bits, kernels, tmp_path):
    outcome = converted(three, tmp_path, "int8", kernels=kernels, overrides=(Override("*", bits=bits),))
    assert {each.role: each.bits for each in outcome.report.quantized} == {
        "input_quant": 8, "weights_quant": bits, "act_quant": 8,
    }  # fmt: skip
    assert outcome.unsupported == ()
    assert outcome.lsb.max() <= 4


@pytest.mark.parametrize("scheme", ["uint8", "int8_per_channel"])
def test_a_layer_with_zero_weights_keeps_its_bias(scheme, tmp_path):
    biases = np.array([0.5, -0.5, 1.0, 0.0], np.float32)
    dead = {"second/weights": np.zeros([3, 3, 4, 4], np.float32), "second/biases": biases}
    outcome = converted(three, tmp_path, scheme, values=dead)
    assert outcome.unsupported == ()
    assert outcome.lsb.max() <= 1
    dead["second/biases"] = np.array([-1, -1, -1, -1], np.float32)
    outcome = converted(three, tmp_path, scheme, values=dead, kernels="xnnpack")
    assert outcome.lsb.max() <= 1
