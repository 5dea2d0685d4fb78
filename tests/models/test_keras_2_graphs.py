"""Keras 2 files with operators on tensors, models inside models and names with slashes compute what they did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops

from qatbuild.exchange.errors import StageError
from qatbuild.worker.models import keras_2_graphs, keras_files
from tests.hints import follows

pytestmark = pytest.mark.tf

Node = list[Any]


def old(kind: str, name: str, *nodes: Node, **config: Any) -> dict[str, Any]:
    """A layer as Keras 2 wrote it."""
    settings = {"name": name, "trainable": True, "dtype": "float32", **config}
    return {"class_name": kind, "name": name, "config": settings, "inbound_nodes": list(nodes)}


def function(name: str, layer: str, *nodes: Node) -> dict[str, Any]:
    kind = "SlicingOpLambda" if name == "__operators__.getitem" else "TFOpLambda"
    return old(kind, layer, *nodes, function=name)


def source(name: str, channels: int) -> dict[str, Any]:
    return old("InputLayer", name, batch_input_shape=[None, 8, 8, channels])


def conv(name: str, *nodes: Node) -> dict[str, Any]:
    return old("Conv2D", name, *nodes, filters=4, kernel_size=[3, 3], padding="same", groups=1)


def model(name: str, made_of: list[dict[str, Any]]) -> dict[str, Any]:
    ends = {"input_layers": [[made_of[0]["name"], 0, 0]], "output_layers": [[made_of[-1]["name"], 0, 0]]}
    return {"class_name": "Functional", "config": {"name": name, "trainable": True, "layers": made_of, **ends}}


def inside(made: dict[str, Any], *nodes: Node) -> dict[str, Any]:
    return {**made, "name": made["config"]["name"], "inbound_nodes": list(nodes)}


def whole(start: Any, stop: Any, step: Any = None) -> dict[str, Any]:
    return {"start": start, "stop": stop, "step": step}


def old_config() -> dict[str, Any]:
    """The same network as `network`, as tf_keras 2.21 writes it into an .h5 file."""
    called = model("called", [source("input_2", 4), conv("shared", [["input_2", 0, 0, {}]])])
    chain = {
        "class_name": "Sequential",
        "config": {"name": "chain", "layers": [source("input_3", 4), conv("linked")]},
    }
    return model(
        "old",
        [
            source("input_1", 3),
            conv("Conv/left", [["input_1", 0, 0, {}]]),
            conv("Conv_left", [["input_1", 0, 0, {}]]),
            function(
                "__operators__.add", "tf.add", ["Conv/left", 0, 0, {"y": ["Conv_left", 0, 0], "name": None}]
            ),
            function("nn.relu6", "tf.relu6", ["tf.add", 0, 0, {"name": "any"}]),
            function("math.subtract", "tf.sub", ["_CONSTANT_VALUE", -1, 1.0, {"y": ["tf.relu6", 0, 0]}]),
            function("split", "tf.split", ["tf.sub", 0, 0, {"num_or_size_splits": 2, "axis": -1}]),
            function("concat", "tf.concat", [["tf.split", 0, 1, {"axis": -1}], ["tf.split", 0, 0, {"axis": -1}]]),
            function("concat", "tf.concat_1", [["tf.concat", 0, 0, {"axis": -1}]]),
            inside(called, [["tf.concat_1", 0, 0, {}]], [["called", 1, 0, {}]]),
            inside(chain, [["called", 2, 0, {}]], [["chain", 1, 0, {}]]),
            function(
                "__operators__.getitem",
                "tf.slice",
                ["chain", 2, 0, {"slice_spec": [{"class_name": "__ellipsis__"}, whole(1, -1), whole(None, 3)]}],
            ),
            function("compat.v1.transpose", "tf.transpose", ["tf.slice", 0, 0, {"perm": [0, 2, 1, 3]}]),
            function("math.multiply", "tf.times", ["tf.transpose", 0, 0, {"y": [1.0, 2.0, 3.0], "name": None}]),
            old("Flatten", "flatten", [["tf.times", 0, 0, {}]]),
            old("Dense", "dense", [["flatten", 0, 0, {}]], units=10),
        ],
    )  # fmt: skip


def network() -> keras.Model:
    def layer(name: str) -> keras.Layer:
        return layers.Conv2D(4, 3, padding="same", name=name)

    x = start = keras.Input((8, 8, 3))
    x = 1.0 - ops.relu6(layer("left")(x) + layer("right")(x))
    x = ops.concatenate([x[..., 2:], x[..., :2]], axis=-1)
    called, inner = layer("shared"), keras.Sequential([keras.Input((8, 8, 4)), layer("linked")], name="chain")
    x = inner(inner(called(called(x))))[..., 1:-1, :3]
    x = ops.transpose(x, [0, 2, 1, 3]) * np.array([1.0, 2.0, 3.0], np.float32)
    return keras.Model(start, layers.Dense(10)(layers.Flatten()(x)), name="old")


def written(path: Path, config: dict[str, Any], weights_of: keras.Model) -> Path:
    weights_of.save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(config)
    return path


def test_operators_nested_models_and_names_of_a_keras_2_file_are_read(tmp_path: Path) -> None:
    expected = network()
    loaded = keras_files.load(written(tmp_path / "old.h5", old_config(), expected)).model
    images = np.random.default_rng(1).normal(size=[2, 8, 8, 3]).astype(np.float32)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected.predict(images, verbose=0), atol=1e-6)
    # Of two names that are the same without their slashes, one gets a new one.
    assert {"Conv_left", "Conv_left_"} <= {each.name for each in loaded.layers}


def test_a_chain_at_the_end_of_a_keras_2_file_is_its_output(tmp_path: Path) -> None:
    head = [source("input_2", 3), old("Flatten", "flatten"), old("Dense", "dense", units=10)]
    chain = {"class_name": "Sequential", "config": {"name": "head", "layers": head}}
    config = model("old", [source("input_1", 3), inside(chain, [["input_1", 0, 0, {}]])])
    config["config"]["output_layers"] = [["head", 1, 0]]
    start = keras.Input((8, 8, 3))
    expected = keras.Model(start, layers.Dense(10)(layers.Flatten()(start)))
    loaded = keras_files.load(written(tmp_path / "old.h5", config, expected)).model
    images = np.ones([1, 8, 8, 3], np.float32)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected.predict(images, verbose=0), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (function("io.read_file", "tf.io.read_file", ["input_1", 0, 0, {}]), "TFOpLambda: tf.io.read_file"),
        (function("math.__loader__.get_data", "sly", ["input_1", 0, 0, {}]), "TFOpLambda: tf.math.__loader__.get_data"),
        (old("TensorFlowOpLayer", "AddV2", [["input_1", 0, 0, {}]], node_def={}), "TensorFlowOpLayer"),
    ],
)
def test_an_operation_that_is_not_read_is_named_with_a_way_that_works(
    layer: dict[str, Any], says: str, tmp_path: Path
) -> None:
    config = model("old", [source("input_1", 3), layer, old("Flatten", "flatten", [[layer["name"], 0, 0, {}]])])
    expected = network()
    path = written(tmp_path / "old.h5", config, expected)
    with pytest.raises(StageError, match="operations of TensorFlow") as refused:
        keras_files.load(path)
    assert (layer["name"], says) in [(str(name), str(value)) for name, value in refused.value.facts]
    assert follows("Build the model once more with Keras 3, with keras.ops in") in refused.value.hint
    anew = network()
    anew.load_weights(path)
    for mine, theirs in zip(anew.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", ["math", "nn.__init__", "raw_ops.WriteFile", "py_function", "compat.v1.io.gfile", ""])
def test_only_functions_that_compute_are_read(name: str) -> None:
    with pytest.raises(ValueError, match="not read from files"):
        keras_2_graphs.TFOpLambda(name, "layer")
