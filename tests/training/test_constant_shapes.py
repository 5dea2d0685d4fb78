"""No .tflite computes shapes while it runs, and the shipped networks' files have the operators that they have had."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.networks import Shipped
from qatbuild.exchange.scaling import Scaling
from qatbuild.quantize import Options
from qatbuild.worker import graph_def
from qatbuild.worker.stages.rewriting import Quantizer
from qatbuild.worker.tflite import convert, inspect
from qatbuild.worker.tflite.ends import wanted
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.frozen import freeze, with_constant_shapes, without_weights
from qatbuild.worker.training.inference import inference
from tests.tflite.running import int8, run
from tests.training import chain
from tests.training.applications import as_floats, classifier
from tests.training.reading import frozen_scores

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
FULLY_CONNECTED = ["RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
SHAPED = {
    "shuffled": [
        "CONV_2D", "RESHAPE", "TRANSPOSE", "RESHAPE", "MEAN", "RESHAPE", "CONV_2D", "LOGISTIC", "MUL", *FULLY_CONNECTED,
    ],
    "enlarged": [
        "CONV_2D", "RESIZE_NEAREST_NEIGHBOR", "CONV_2D", "RESIZE_BILINEAR", "RESHAPE", "EXPAND_DIMS",
        "RESIZE_NEAREST_NEIGHBOR", "RESHAPE", "MEAN", *FULLY_CONNECTED,
    ],
    "transposed": ["CONV_2D", "TRANSPOSE_CONV", "RESHAPE", "MEAN", "FULLY_CONNECTED", "SOFTMAX"],
    "of_tensorflow_1": [
        "CONV_2D", "RESHAPE", "STRIDED_SLICE", "STRIDED_SLICE", "PACK", "RESHAPE", "CONV_2D", "MEAN", "FULLY_CONNECTED",
        "SOFTMAX",
    ],
}  # fmt: skip
SHIPPED: dict[str, tuple[tuple[int, int, int], dict[str, Any], dict[str, int]]] = {
    "cifarnet": ((32, 32, 3), {}, {"CONV_2D": 2, "FULLY_CONNECTED": 3, "MAX_POOL_2D": 2}),
    "digitsnet": ((8, 8, 1), {}, {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 2, "MAX_POOL_2D": 1}),
    "lenet": ((28, 28, 1), {}, {"CONV_2D": 2, "FULLY_CONNECTED": 2, "MAX_POOL_2D": 2}),
    "mobilenet": (
        (32, 32, 3),
        {"width": 0.25},
        {"AVERAGE_POOL_2D": 1, "CONV_2D": 14, "DEPTHWISE_CONV_2D": 13, "FULLY_CONNECTED": 1},
    ),
    "resnet8": ((32, 32, 3), {}, {"ADD": 3, "AVERAGE_POOL_2D": 1, "CONV_2D": 9, "FULLY_CONNECTED": 1}),
}


@pytest.mark.parametrize(("network", "operators"), SHAPED.items())
def test_a_network_that_reshapes_has_no_shape_arithmetic_and_predicts_its_graph(
    network: str, operators: list[str], tmp_path: Path
) -> None:
    project = chain.project(tmp_path, (8, 8, 3), {"call": f"tests.training.shaped_networks:{network}"})
    chain.check_network(project, scheme="int8_per_channel", **chain.PTQ)
    made = chain.converted(project)
    assert list(made.facts["operators"]) == operators
    images = np.random.default_rng(3).integers(0, 256, [30, 8, 8, 3], np.uint8)
    model = Model(made.file("model.tflite"), kernels="reference")
    codes = run(model, int8(images)).astype(np.float32) + 128
    frozen = project.request("evaluate", "freeze").inputs["freeze"].manifest
    scores = frozen_scores(frozen, as_floats(images, Scaling(128.0, 64.0)))
    assert np.abs(codes / 256 - scores).max() <= 4 / 256


@pytest.mark.parametrize("network", SHIPPED)
def test_a_shipped_network_has_as_many_operators_as_ever(network: str, tmp_path: Path) -> None:
    shape, options, layers = SHIPPED[network]
    scaling = Scaling(128.0, 64.0)
    target = classifier(Shipped(network, options), shape, 10, scaling)
    asked = Quantizer(Options(mean=128.0, std_dev=64.0, scheme="int8_per_channel"), {})
    built = inference(target, asked.inference)
    (tmp_path / "graph.pb").write_bytes(without_weights(built).SerializeToString())
    with built.graph.as_default():
        variables = {each.op.name: each.shape.as_list() for each in v1.global_variables()}
    random = np.random.default_rng(1)
    ends = {"min": -1.0, "max": 1.0}
    values = {
        name: np.full(size, ends[last], np.float32)
        if (last := name.rpartition("/")[2]) in ends
        else random.uniform(0.5, 1, size).astype(np.float32)
        for name, size in variables.items()
    }
    checkpoint.write(values, tmp_path / "model.ckpt-0")
    frozen = tmp_path / "frozen.pb"
    frozen.write_bytes(freeze(tmp_path / "graph.pb", tmp_path / "model.ckpt-0", built.outputs.values()))
    inputs = {name: (operation, scaling) for name, operation in built.inputs.items()}
    integers = wanted(frozen, inputs, built.outputs, "int8_per_channel")
    (tmp_path / "model.tflite").write_bytes(convert.convert(frozen, integers, scheme="int8_per_channel"))
    counts = Counter(each.name for each in inspect.read(tmp_path / "model.tflite").operators)
    assert counts == {**layers, "RESHAPE": 1, "SOFTMAX": 1}


def test_only_shapes_that_are_computed_and_fixed_become_constants() -> None:
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, 4, None, 6], name="images")
        rows, columns = tf.shape(images)[0], tf.shape(images)[2]
        tf.reshape(images, [-1, 24], name="constant")
        tf.reshape(images[:, :, :2], tf.stack([rows, 48]), name="computed")
        tf.reshape(images, tf.stack([rows, columns, 24]), name="unknown")
        tf.reshape(images[:1, :, :2], tf.cast(tf.stack([tf.constant(1), 48]), tf.int64) * 1, name="fixed")
        parts = [tf.reduce_sum(graph.get_tensor_by_name(f"{name}:0")) for name in ("constant", "computed", "unknown")]
        tf.add_n([*parts, tf.reduce_sum(graph.get_tensor_by_name("fixed:0"))], name="output")
    result = with_constant_shapes(graph.as_graph_def(), ["output"])
    nodes = graph_def.nodes_by_name(result)
    shapes = {name: nodes[graph_def.op_name(nodes[name].input[1])] for name in ("constant", "computed", "unknown")}
    assert graph_def.constant(shapes["constant"]).tolist() == [-1, 24]
    assert graph_def.constant(shapes["computed"]).tolist() == [-1, 48]
    assert shapes["unknown"].op == "Pack"
    fixed = graph_def.constant(nodes[graph_def.op_name(nodes["fixed"].input[1])])
    assert fixed.dtype == np.int64
    assert fixed.tolist() == [1, 48]
    values = np.random.default_rng(1).random([3, 4, 5, 6], np.float32)
    totals = [graph_outputs_sum(each, values) for each in (graph.as_graph_def(), result)]
    assert totals[0] == totals[1]


def test_a_graph_that_computes_no_shape_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, 4], name="images")
        tf.reshape(images, [-1, 2, 2], name="output")
        tf.identity(images, name="unread")
    monkeypatch.setattr(tf, "import_graph_def", lambda *_, **__: pytest.fail("the graph was imported"))
    result = with_constant_shapes(graph.as_graph_def(), ["output"])
    assert [node.name for node in result.node] == ["images", "output/shape", "output"]


def graph_outputs_sum(definition: Any, values: np.ndarray) -> float:
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.import_graph_def(definition, name="")
        return float(session.run("output:0", {"images:0": values}))
