"""The figures of a model's layers: the rows, and which layer comes first."""

from __future__ import annotations

import contextlib
import types
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.worker.tflite import inspect, layer, layers
from qatbuild.worker.tflite.pairing import IndexedGraph, float_partner, partner
from qatbuild.worker.training.session import session
from tests.tflite import nets
from tests.tflite.running import int8

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
IMAGES = np.random.default_rng(3).integers(0, 256, (12, nets.SIDE_PX, nets.SIDE_PX, nets.CHANNELS), np.uint8)
REALS = (IMAGES.astype(np.float32) - np.float32(121)) / np.float32(64)


def graphs(folder):
    files = {"fake_quant": "frozen_graph.pb", "float": "float_graph.pb"}
    return {form: v1.GraphDef.FromString((folder / name).read_bytes()) for form, name in files.items()}


def measured(folder, definitions=None):
    """The rows of the net in a folder, worst first."""
    with contextlib.ExitStack() as sessions:

        def opened(graph):
            return sessions.enter_context(session(graph, 2, as_written=True)).run

        path = folder / "model.tflite"
        model = inspect.read(path)
        images = IMAGES if model.tensors[model.inputs[0]].dtype == "uint8" else int8(IMAGES)
        named, reals = (["input"], ["output"]), {"input:0": REALS}
        return layers.measure(
            path,
            named,
            {"input": images},
            reals,
            {form: IndexedGraph(each) for form, each in (definitions or graphs(folder)).items()},
            model=model,
            inputs={"input": "input"},
            opened=opened,
        ).rows


@pytest.fixture(scope="module", params=[(net, scheme) for net in nets.NETS for scheme in nets.SCHEMES], ids="-".join)
def folder(request, tmp_path_factory):
    made = tmp_path_factory.mktemp("net")
    net, scheme = request.param
    nets.build(net, scheme, made)
    return made


@pytest.fixture(scope="module")
def mobile(tmp_path_factory):
    made = tmp_path_factory.mktemp("mobile")
    nets.build("mobile", "uint8", made)
    return made


def test_every_operator_is_within_one_lsb_of_its_partner_on_the_same_inputs(folder):
    rows = measured(folder)
    assert len(rows) == len(inspect.read(folder / "model.tflite").operators)
    assert [(row["name"], row["operator"]) for row in rows if not (row["max_lsb"]["same_inputs"] or 0) <= 1] == []
    assert all(row["partner"] for row in rows)


def test_equal_models_give_equal_rows(mobile):
    assert measured(mobile) == measured(mobile)


def test_rows_do_not_depend_on_how_many_values_are_compared_together(folder, monkeypatch):
    rows = measured(folder)
    monkeypatch.setattr(layer, "_BLOCK", 1000)
    assert measured(folder) == rows


@pytest.mark.parametrize(("dtype", "zero_point"), [(np.uint8, 0), (np.int8, -128)])
def test_codes_are_counted_from_the_smallest_value_of_the_type(dtype, zero_point):
    tensor: Any = types.SimpleNamespace(dtype=np.dtype(dtype).name, scales=(1.0,), zero_points=(zero_point,))
    operator: Any = types.SimpleNamespace(name="RELU")
    whole = layer.Layer("relu", operator, tensor, 0)
    whole.count((np.array([0, 0, 100, 255]) + zero_point).astype(dtype))
    row = whole.row()
    assert (row["codes_used_percent"], row["saturated_percent"]) == (100, 25)
    narrow = layer.Layer("relu", operator, tensor, 0)
    narrow.count((np.arange(100, 164) + zero_point).astype(dtype))
    assert (narrow.row()["codes_used_percent"], narrow.row()["saturated_percent"]) == (25, 0)


def test_rows_are_sorted_worst_first_and_have_their_position(mobile):
    rows = measured(mobile)
    alone = [row["sqnr_db"]["alone"] for row in rows if row["operator"] not in {"RESHAPE", "SOFTMAX"}]
    assert alone == sorted(alone)
    assert {row["operator"] for row in rows[len(alone) :]} == {"RESHAPE", "SOFTMAX"}
    assert [row["operator"] for row in sorted(rows, key=lambda row: row["position"])] == [
        operator.name for operator in inspect.read(mobile / "model.tflite").operators
    ]


def test_operators_that_only_move_values_lose_nothing(mobile):
    (flatten,) = (row for row in measured(mobile) if row["operator"] == "RESHAPE")
    assert flatten["sqnr_db"]["alone"] is None
    assert flatten["max_lsb"]["same_inputs"] == 0
    assert flatten["sqnr_db"]["float"] is not None  # what was lost before it


def narrowed(monkeypatch, folder, layer, ends):
    """The mobile net, with the range of one layer replaced before it is converted."""
    usual = nets.Layers.range

    def replaced(make, net, low, high, name):
        low, high = ends if name == layer else (low, high)
        return usual(make, net, low, high, name)

    monkeypatch.setattr(nets.Layers, "range", replaced)
    nets.build("mobile", "uint8", folder)
    return measured(folder)


def test_a_layer_with_a_too_narrow_range_comes_first_and_saturates(monkeypatch, tmp_path):
    worst, *others = narrowed(monkeypatch, tmp_path, "depthwise2", (0.0, 0.3))
    assert worst["name"] == "depthwise2"
    assert worst["saturated_percent"] > 20
    assert worst["sqnr_db"]["alone"] < 10
    assert worst["max_lsb"]["same_inputs"] <= 1  # the .tflite does what the fake-quantized graph does
    assert "depthwise2" not in {row["name"] for row in others}


def test_a_layer_with_a_too_wide_range_comes_first_and_uses_few_values(monkeypatch, tmp_path):
    worst, *_ = narrowed(monkeypatch, tmp_path, "depthwise2", (0.0, 400.0))
    assert worst["name"] == "depthwise2"
    assert worst["codes_used_percent"] < 5
    assert worst["saturated_percent"] == 0


def test_a_layer_that_differs_from_its_partner_by_more_than_rounding_comes_first(mobile):
    definitions = graphs(mobile)
    (biases,) = (node for node in definitions["fake_quant"].node if node.name == "logits/BiasAdd/bias")
    values = tf.make_ndarray(biases.attr["value"].tensor).copy()
    values[0] += 20 * 11 / 255
    biases.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
    first, *_ = measured(mobile, definitions)
    assert first["name"] == "logits"
    assert first["max_lsb"]["same_inputs"] == pytest.approx(20, abs=1)


def test_layers_without_a_partner_and_their_readers_have_rows_without_figures(mobile):
    definitions = graphs(mobile)
    for node in definitions["fake_quant"].node:
        node.name = node.name.replace("logits/", "other/")
        for slot, name in enumerate(node.input):
            node.input[slot] = name.replace("logits/", "other/")
    rows = {row["name"]: row for row in measured(mobile, definitions)}
    assert rows["logits"]["partner"] is None
    assert set(rows["logits"]["sqnr_db"].values()) == set(rows["logits"]["max_lsb"].values()) == {None}
    assert rows["logits"]["codes_used_percent"] > 20
    assert rows["Softmax"]["max_lsb"]["same_inputs"] is None
    assert rows["Softmax"]["max_lsb"]["fake_quant"] is not None
    assert layers.described(rows["logits"]).startswith("logits (FULLY_CONNECTED): nothing to compare with")


def test_a_fake_quant_of_another_scale_is_not_accepted_as_a_partner(mobile):
    frozen = IndexedGraph(graphs(mobile)["fake_quant"])
    model = inspect.read(mobile / "model.tflite")
    right = model.tensors[model.operators[0].outputs[0]]
    wrong = inspect.Tensor(right.name, right.dtype, right.shape, (right.scales[0] * 2,), right.zero_points)
    assert partner(right, frozen) == "conv1/act_quant:0"
    assert partner(wrong, frozen) is None


def test_a_value_that_is_passed_on_beside_others_depends_on_none_of_them():
    with tf.Graph().as_default() as graph:
        ends = [v1.placeholder(tf.float32, [None, 2], name=name) for name in ("result", "input")]
        result, _ = tf.identity_n(ends)  # as a function with its own gradient passes on its input: tf.nn.silu
        tf.add(result, 1.0, name="next")
    indexed = IndexedGraph(graph.as_graph_def())
    assert indexed.placeholders("next") == {"result"}


def test_a_number_that_the_converter_put_behind_a_name_is_not_part_of_it(mobile):
    frozen = IndexedGraph(graphs(mobile)["fake_quant"])
    model = inspect.read(mobile / "model.tflite")
    right = model.tensors[model.operators[0].outputs[0]]
    for name in (right.name, f"{right.name}1", f"{right.name}12"):
        numbered = inspect.Tensor(name, right.dtype, right.shape, right.scales, right.zero_points)
        assert partner(numbered, frozen) == "conv1/act_quant:0"


def test_a_pool_does_not_get_the_range_of_another_operation_with_the_same_scale():
    """In a residual block with one range, the FakeQuant of the sum has the same scale as the pooled shortcut."""
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, 4, 4, 2], name="input")
        ranged = tf.quantization.fake_quant_with_min_max_vars(images, 0.0, 6.0, name="block/act_quant")
        pooled = v1.nn.max_pool(ranged, 1, 2, "SAME", name="shortcut/MaxPool")
        summed = tf.nn.relu6(
            tf.add(pooled, v1.nn.avg_pool(images, 2, 2, "SAME", name="main"), name="add"), name="Relu6"
        )
        tf.quantization.fake_quant_with_min_max_vars(summed, 0.0, 6.0, name="act_quant")
    network = IndexedGraph(graph.as_graph_def())

    def partner_of(name):
        return partner(inspect.Tensor(name, "uint8", (1, 2, 2, 2), (6 / 255,), (0,)), network)

    assert partner_of("shortcut/MaxPool") == "shortcut/MaxPool:0"
    assert partner_of("Relu6;add") == "act_quant:0"


def test_float_partners_are_identified_although_folding_changed_the_names():
    """The partner is what the next operation reads, because a batch norm was removed in front of it."""
    with tf.Graph().as_default() as folded:
        images = v1.placeholder(tf.float32, [None, 4], name="input")
        net = tf.identity(tf.matmul(images, np.eye(4, dtype=np.float32), name="MatMul_Fold"))
        net = tf.quantization.fake_quant_with_min_max_vars(
            tf.add(net, 1.0, name="add_fold"), -1.0, 1.0, name="act_quant"
        )
        tf.nn.softmax(net, name="Softmax")
    with tf.Graph().as_default() as floats:
        images = v1.placeholder(tf.float32, [None, 4], name="input")
        net = tf.matmul(images, np.eye(4, dtype=np.float32), name="MatMul")
        tf.nn.softmax(tf.multiply(net, 2.0, name="BatchNorm/mul"), name="Softmax")
    name = float_partner("act_quant:0", IndexedGraph(folded.as_graph_def()), IndexedGraph(floats.as_graph_def()))
    assert name == "BatchNorm/mul:0"


def test_fewer_images_are_run_through_a_larger_model(mobile, monkeypatch):
    monkeypatch.setattr(layers, "_PRODUCTS", 10**7)
    products = 36 * 8 * 27 + 36 * 8 * 9 + 36 * 8 * 8 + 72 * nets.CLASSES  # conv1, depthwise2, project3, logits
    assert layers.affordable(inspect.read(mobile / "model.tflite")) == 10**7 // products
    monkeypatch.setattr(layers, "_PRODUCTS", 1)
    assert layers.affordable(inspect.read(mobile / "model.tflite")) == 4


def test_a_model_with_many_values_is_run_in_batches(mobile, monkeypatch):
    whole = measured(mobile)
    monkeypatch.setattr(layers, "_VALUES", 5000)  # a few images at once
    parts = measured(mobile)
    assert [row["max_lsb"] for row in parts] == [row["max_lsb"] for row in whole]
    assert [row["saturated_percent"] for row in parts] == [row["saturated_percent"] for row in whole]
