"""Keras 2 files: arguments that Keras 3 has lost are taken out, and only where they say nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from qatbuild.exchange.errors import StageError
from qatbuild.worker.models import keras_files
from tests.conftest import SHARED

pytestmark = pytest.mark.tf

LOST: dict[str, dict[str, Any]] = {
    "DepthwiseConv2D": {"groups": 1},
    "Conv2DTranspose": {"groups": 1},
    "SeparableConv2D": {"groups": 1, "kernel_initializer": "glorot_uniform", "kernel_regularizer": None},
    "SpatialDropout2D": {"trainable": True},
    "LSTM": {"time_major": False},
}
"""What Keras 2 wrote for these classes, beside what Keras 3 writes."""


def network() -> keras.Model:
    x = source = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(4, 3, padding="same", activation="relu")(x)
    x = layers.SpatialDropout2D(0.2)(layers.DepthwiseConv2D(3)(x))
    x = layers.ReLU(threshold=0.5, name="jump")(layers.Conv2DTranspose(4, 3, strides=2)(x))
    x = layers.LSTM(3)(layers.Reshape((13, 52))(x))
    return keras.Model(source, layers.Dense(10)(x), name="old")


def as_keras_2(config: dict[str, Any], lost: dict[str, dict[str, Any]], *, modules: bool) -> None:
    """Writes a configuration as Keras 2 did, in place."""
    for layer in config["config"]["layers"]:
        kind, arguments = layer["class_name"], layer["config"]
        arguments.update(lost.get(kind, {}))
        if layer["name"] == "jump":
            layer["class_name"] = "ThresholdedReLU"
            layer["config"] = {"name": "jump", "trainable": True, "dtype": "float32", "theta": 0.5}
        if kind == "InputLayer" and modules:
            arguments["batch_input_shape"] = arguments.pop("batch_shape")
        elif kind == "DepthwiseConv2D" and modules:
            arguments["batch_input_shape"] = [None, 8, 8, 4]
    if modules:
        config["module"] = "keras.src.engine.functional"


def write(path: Path, model: keras.Model, lost: dict[str, dict[str, Any]]) -> None:
    model.save(path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            as_keras_2(config, lost, modules=False)
            file.attrs["model_config"] = json.dumps(config)
        return
    with zipfile.ZipFile(path) as archive:
        content = {each: archive.read(each) for each in archive.namelist()}
    config = json.loads(content["config.json"])
    as_keras_2(config, lost, modules=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**content, "config.json": json.dumps(config).encode()}.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_a_keras_2_file_is_read_and_left_as_it_is(suffix: str, tmp_path: Path) -> None:
    model, path = network(), tmp_path / f"old.{suffix}"
    write(path, model, LOST)
    before = path.read_bytes()
    with pytest.raises((TypeError, ValueError)):
        keras.models.load_model(path, compile=False)
    loaded = keras_files.load(path)
    images = np.random.default_rng(1).normal(size=[2, 8, 8, 3]).astype(np.float32)
    np.testing.assert_allclose(loaded.model.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("kind", "lost"), [("DepthwiseConv2D", {"groups": 2}), ("LSTM", {"time_major": True})])
def test_an_argument_that_says_something_is_not_taken_out(kind: str, lost: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "old.h5", network(), {**LOST, kind: lost})
    with pytest.raises(StageError, match="cannot be read") as refused:
        keras_files.load(tmp_path / "old.h5")
    assert next(iter(lost)) in refused.value.block()


@pytest.mark.shared("models")
@pytest.mark.parametrize("name", ["ad", "resnet8", "sww", "vww"])
def test_the_files_of_others_are_read(name: str) -> None:
    assert keras_files.load(SHARED / f"models/mlperf_tiny_{name}.h5").model.built
