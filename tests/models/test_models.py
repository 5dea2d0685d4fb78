"""Networks: slim's names and shapes, inference graphs without operations of training, and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.engine.new.networks import SHIPPED
from qatbuild.exchange import networks
from qatbuild.exchange.errors import StageError
from qatbuild.exchange.networks import Shipped
from qatbuild.schema.faults import SCHEMA_PATH
from qatbuild.worker import models
from qatbuild.worker.models import layers
from qatbuild.worker.tasks import ends
from tests.models.classifier import classifier

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
SHAPES = {"cifarnet": (32, 32, 3), "digitsnet": (8, 8, 1), "lenet": (28, 28, 1), "mobilenet": (32, 32, 3)}
SHAPES |= {"resnet8": (32, 32, 3)}


def _build(model: Mapping[str, Any], shape: tuple[int, ...], *, training: bool = False, seed: int = 1) -> tf.Graph:
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(seed)
        images = v1.placeholder(tf.float32, [None, *shape], name="input")
        ends.softmax(classifier(images, networks.read(model), training=training))
    return graph


def _operations(graph: tf.Graph, kinds: set[str]) -> list[tuple[str, str]]:
    return [(op.type, op.name) for op in graph.get_operations() if op.type in kinds and "Initializer" not in op.name]


def test_every_shipped_network_has_a_shape_here() -> None:
    assert models.shipped() == sorted(SHAPES)


def test_the_schema_and_doit_new_name_every_shipped_network() -> None:
    schema = json.loads(SCHEMA_PATH.read_text())
    assert schema["$defs"]["model"]["properties"]["name"]["enum"] == list(SHIPPED) == models.shipped()


def test_cifarnet_is_slims_by_names_kinds_and_order() -> None:
    wanted = [
        *[(kind, f"CifarNet/conv1/{kind}") for kind in ("Conv2D", "BiasAdd", "Relu")],
        ("MaxPool", "CifarNet/pool1/MaxPool"),
        ("LRN", "CifarNet/norm1"),
        *[(kind, f"CifarNet/conv2/{kind}") for kind in ("Conv2D", "BiasAdd", "Relu")],
        ("LRN", "CifarNet/norm2"),
        ("MaxPool", "CifarNet/pool2/MaxPool"),
        *[(kind, f"CifarNet/fc3/{kind}") for kind in ("MatMul", "BiasAdd", "Relu")],
        *[(kind, f"CifarNet/fc4/{kind}") for kind in ("MatMul", "BiasAdd", "Relu")],
        *[(kind, f"CifarNet/logits/{kind}") for kind in ("MatMul", "BiasAdd")],
        ("Softmax", "CifarNet/Predictions/Softmax"),
    ]
    kinds = {"Conv2D", "BiasAdd", "Relu", "MaxPool", "LRN", "MatMul", "Softmax"}
    with_lrn = _build({"name": "cifarnet", "options": {"lrn": True}}, (32, 32, 3))
    assert _operations(with_lrn, kinds) == wanted
    assert _operations(_build({"name": "cifarnet"}, (32, 32, 3)), kinds) == [row for row in wanted if row[0] != "LRN"]


def test_cifarnet_has_slims_variables() -> None:
    graph = _build({"name": "cifarnet"}, (32, 32, 3))
    shapes = {
        variable.op.name.removeprefix("CifarNet/"): variable.shape.as_list()
        for variable in graph.get_collection(v1.GraphKeys.TRAINABLE_VARIABLES)
        if variable.op.name.endswith("/weights")
    }
    assert shapes == {
        "conv1/weights": [5, 5, 3, 64],
        "conv2/weights": [5, 5, 64, 64],
        "fc3/weights": [8 * 8 * 64, 384],
        "fc4/weights": [384, 192],
        "logits/weights": [192, 10],
    }


@pytest.mark.parametrize("name", sorted(set(SHAPES) - {"resnet8"}))
def test_dropout_is_in_the_training_graph_alone(name: str) -> None:
    def random(graph: tf.Graph) -> list[str]:
        names = [op.name for op in graph.get_operations() if "Random" in op.type or "dropout" in op.name]
        return [name for name in names if "Initializer" not in name]

    assert random(_build({"name": name}, SHAPES[name], training=True))
    assert not random(_build({"name": name}, SHAPES[name]))


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_initial_weights_depend_on_the_seed_and_the_layer_alone(name: str) -> None:
    def initial(seed: int) -> dict[str, bytes]:
        graph = _build({"name": name}, SHAPES[name], seed=seed)
        with graph.as_default(), v1.Session() as session:
            session.run(v1.global_variables_initializer())
            values = session.run({variable.op.name: variable for variable in v1.trainable_variables()})
        return {name: value.tobytes() for name, value in values.items() if "weights" in name}

    one, again, other = initial(1), initial(1), initial(2)
    assert one == again
    assert not set(one.values()) & set(other.values())
    assert len({value[:64] for value in one.values()}) == len(one), "no two layers draw the same values"


def test_resnet8_is_mlperf_tinys_by_kinds_and_order() -> None:
    def block(number: int, *, shortcut: bool) -> list[tuple[str, str]]:
        scope = f"ResNet8/block{number}"
        rows = [("Conv2D", f"{scope}/conv1/Conv2D"), ("FusedBatchNormV3", f"{scope}/conv1/BatchNorm/FusedBatchNormV3")]
        rows += [("Relu", f"{scope}/conv1/Relu"), ("Conv2D", f"{scope}/conv2/Conv2D")]
        rows += [("FusedBatchNormV3", f"{scope}/conv2/BatchNorm/FusedBatchNormV3")]
        rows += [("Conv2D", f"{scope}/shortcut/Conv2D")] * shortcut
        return [*rows, ("AddV2", f"{scope}/add"), ("Relu", f"{scope}/Relu")]

    graph = _build({"name": "resnet8"}, (32, 32, 3))
    kinds = {"Conv2D", "FusedBatchNormV3", "Relu", "AddV2", "AvgPool", "MatMul"}
    assert _operations(graph, kinds) == [
        ("Conv2D", "ResNet8/conv1/Conv2D"),
        ("FusedBatchNormV3", "ResNet8/conv1/BatchNorm/FusedBatchNormV3"),
        ("Relu", "ResNet8/conv1/Relu"),
        *block(1, shortcut=False),
        *block(2, shortcut=True),
        *block(3, shortcut=True),
        ("AvgPool", "ResNet8/pool/AvgPool"),
        ("MatMul", "ResNet8/logits/MatMul"),
    ]
    assert len(graph.get_collection(v1.GraphKeys.TRAINABLE_VARIABLES)) == 9 * 2 + 7 * 2 + 2
    with graph.as_default():
        assert sum(np.prod(variable.shape) for variable in v1.trainable_variables()) == 78_186


def test_mobilenet_has_its_filters_by_width() -> None:
    for width, wanted in ((1.0, [3, 3, 32, 1]), (0.25, [3, 3, 8, 1])):
        graph = _build({"name": "mobilenet", "options": {"width": width}}, (32, 32, 3))
        kernels = [
            variable.shape.as_list()
            for variable in graph.get_collection(v1.GraphKeys.TRAINABLE_VARIABLES)
            if "weights" in variable.op.name
        ]
        assert len(kernels) == 28
        assert kernels[1] == wanted
        assert graph.get_operation_by_name("MobilenetV1/Conv2d_13_pointwise/Relu6").outputs[0].shape[1:3] == [2, 2]


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_normalizes_with_the_batch_or_its_moving_averages(training: bool) -> None:
    values = np.random.default_rng(1).normal(3, 2, [4, 5, 5, 2]).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        norm = layers.batch_norm(training=training)
        identity = v1.constant_initializer(np.eye(2).reshape(1, 1, 2, 2))
        net = layers.conv(tf.constant(values), 2, 1, scope="net", activation=None, weights=identity, norm=norm)
        session.run(v1.global_variables_initializer())
        output, _ = session.run([net, v1.get_collection(v1.GraphKeys.UPDATE_OPS)])
        moving = session.run({each.op.name: each for each in v1.global_variables() if "moving" in each.op.name})
    if training:
        mean, variance = values.mean((0, 1, 2)), values.var((0, 1, 2))
        np.testing.assert_allclose(moving["net/BatchNorm/moving_mean"], mean * 0.01, rtol=1e-4)
        np.testing.assert_allclose(
            moving["net/BatchNorm/moving_variance"], 0.99 + variance * 0.01 * 100 / 99, rtol=1e-4
        )
    else:
        mean, variance = np.zeros(2), np.ones(2)
    np.testing.assert_allclose(output, (values - mean) / np.sqrt(variance + 1e-3), rtol=1e-4, atol=1e-5)


def test_dropout_zeroes_half_scales_the_rest_and_depends_on_the_step_alone() -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(7)
        step = v1.train.get_or_create_global_step()
        dropped = layers.dropout(tf.ones([100, 100]), 0.5, training=True, scope="dropout")
        session.run(v1.global_variables_initializer())
        first, again = session.run(dropped), session.run(dropped)
        session.run(step.assign(1))
        second = session.run(dropped)
    np.testing.assert_array_equal(first, again)
    assert (first != second).mean() == pytest.approx(0.5, abs=0.05)
    assert set(np.unique(first)) == {0.0, 2.0}
    assert first.mean() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("name", "shape", "wanted"), [
    ("cifarnet", (6, 32, 3), "at least 8x8 pixels"),
    ("lenet", (7, 7, 1), "at least 8x8 pixels"),
    ("digitsnet", (8, 3, 1), "at least 4x4 pixels"),
    ("mobilenet", (15, 32, 3), "at least 16x16 pixels"),
    ("resnet8", (7, 8, 3), "at least 8x8 pixels"),
])  # fmt: skip
def test_images_that_are_too_small_are_refused_with_shape_got_and_wanted(
    name: str, shape: tuple[int, int, int], wanted: str
) -> None:
    with pytest.raises(StageError) as refused:
        _build({"name": name}, shape)
    assert refused.value.facts == [("network", name), ("images", "x".join(map(str, shape))), ("wanted", wanted)]


def test_smallest_images_are_taken() -> None:
    for name, size in (("cifarnet", 8), ("lenet", 8), ("digitsnet", 4), ("mobilenet", 16), ("resnet8", 8)):
        _build({"name": name}, (size, size, 1))


def test_unknown_network_lists_the_shipped_ones() -> None:
    with pytest.raises(StageError) as refused:
        _build({"name": "layers"}, (8, 8, 1))
    assert dict(refused.value.facts)["there are"] == "cifarnet, digitsnet, lenet, mobilenet, resnet8"


def test_unknown_option_lists_the_networks_own() -> None:
    with pytest.raises(StageError) as refused:
        _build({"name": "cifarnet", "options": {"lrm": False}}, (32, 32, 3))
    assert refused.value.facts == [("network", "cifarnet"), ("option", "lrm"), ("it has", "lrn")]


def test_hint_for_lrn_names_the_option_of_the_spec() -> None:
    assert models.hints(Shipped("cifarnet"))["LRN"] == '"lrn": false'
    assert not models.hints(Shipped("lenet"))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of the user's with several functions."""
    (tmp_path / "usersnets.py").write_text(
        "import tensorflow as tf\n"
        "from qatbuild.worker.models import layers\n"
        "def mine(images, classes, *, training, width=4):\n"
        "    with tf.compat.v1.variable_scope('Mine'):\n"
        "        net = layers.dense(layers.flatten(images), width, scope='fc1')\n"
        "        return layers.dense(net, classes, scope='logits', activation=None)\n"
        "def five(images, classes, *, training):\n"
        "    return layers.dense(layers.flatten(images), 5, scope='five', activation=None)\n"
        "def nothing(images, classes, *, training):\n"
        "    pass\n"
    )
    (tmp_path / "faultynet.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "usersnets"


def test_network_of_the_users_gets_its_options(module: str) -> None:
    graph = _build({"call": f"{module}:mine", "options": {"width": 7}}, (8, 8, 1))
    assert graph.get_tensor_by_name("Mine/fc1/Relu:0").shape.as_list() == [None, 7]
    assert graph.get_operation_by_name("Mine/Predictions/Softmax")


@pytest.mark.parametrize(("call", "fact"), [
    ("usersnets", "usersnets"),
    ("nosuchmodule:mine", "No module named 'nosuchmodule'"),
    ("faultynet:mine", "No module named 'a_module_that_is_not_there'"),
    ("usersnets:yours", "mine, five, nothing"),
    ("usersnets:five", "float32 tensor [None, 5]"),
    ("usersnets:five", "float32 tensor [batch, 10]"),
    ("usersnets:nothing", "NoneType"),
])  # fmt: skip
@pytest.mark.usefixtures("module")
def test_function_that_builds_no_valid_network_is_refused(call: str, fact: str) -> None:
    with pytest.raises(StageError) as refused:
        _build({"call": call}, (8, 8, 1))
    assert fact in [value for _, value in refused.value.facts]
