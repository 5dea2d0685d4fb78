"""Keras files through every stage that makes a model of them, to a fully integer .tflite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from qatbuild.worker.stages import check, convert, export, freeze, quantize
from qatbuild.worker.stages import float as floating
from qatbuild.worker.tflite.interpret import Model
from tests.conftest import SHARED
from tests.tflite.running import int8, run
from tests.training.project import Project
from tests.training.reading import tensors

pytestmark = pytest.mark.tf

RESNET8 = SHARED / "models" / "mlperf_tiny_resnet8.h5"
PTQ = {"method": "ptq", "calibration": {"images": 16, "range": "min_max", "percentile": 99.99}}


def plain() -> keras.Model:
    """Conv-BN-ReLU in the two ways of Keras, depthwise and dense; a channel of the depthwise layer is almost dead."""
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(4, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, use_bias=False),
            layers.BatchNormalization(scale=False),
            layers.Activation("relu6"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(8),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ],
        name="plain",
    )
    kernel = model.layers[3].kernel
    kernel.assign(kernel * np.array([1e-4, 1, 1, 1], np.float32).reshape(1, 1, 4, 1))
    return model


def normalized() -> keras.Model:
    """A network of bytes: it scales and normalizes them itself, by what it saw of images, each channel by its own."""
    seen = layers.Normalization()
    seen.adapt(np.random.default_rng(4).normal([0.5, 0.4, 0.3], [0.2, 0.3, 0.1], [200, 3]).astype(np.float32))
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            seen,
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ],
        name="normalized",
    )


def leaky() -> keras.Model:
    """A network with a bias and a LeakyReLU, which TensorFlow computes in one step unless it has to show both."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(8, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ],
        name="leaky",
    )


def mobilenet() -> keras.Model:
    return settled(keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=10, alpha=0.35))


def resnet50() -> keras.Model:
    return settled(keras.applications.ResNet50(input_shape=(32, 32, 3), weights=None, classes=10))


def settled(model: keras.Model) -> keras.Model:
    """The model with moving averages of a batch: fifty layers at random without them give zeros or infinities."""
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(np.random.default_rng(2).normal(0, 1, [64, 32, 32, 3]).astype(np.float32), training=True)
    for norm in norms:
        norm.momentum = 0.9
    return model


def resnet8() -> keras.Model:
    return keras.models.load_model(RESNET8, compile=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a few random images, and training settings that change almost nothing."""
    random = np.random.default_rng(1)
    images, labels = random.integers(0, 256, [24, 32, 32, 3], np.uint8), random.integers(0, 10, 24).astype(np.int32)
    project = Project(tmp_path, images, labels, 8)
    project.settings["train"] = {**project.settings["train"], "steps": 0, "batch_size": 8}
    return project


def converted(project: Project, model: keras.Model, **asked: Any) -> tuple[Model, Mapping[str, Any]]:
    """The .tflite of a Keras model, and the facts of the stage that quantized it."""
    path = project.root / "net.keras"
    model.save(path)
    project.settings["model"] = {"keras": path.name, "options": {}}
    project.settings["quantize"] = {**project.settings["quantize"], "mode": "integer", **asked}
    project.run(check.run, "dataset", network=path)
    project.run(floating.run, "dataset", network=path)
    quantized = project.run(quantize.run, "dataset", "check", "float", network=path)
    project.run(export.run, "dataset", "check", network=path)
    project.run(freeze.run, "export", "quantize", "float")
    made = project.run(convert.run, "export", "freeze")
    assert all(gate["passed"] for gate in made.facts["gates"])
    return Model(made.file("model.tflite"), kernels="reference"), quantized.facts


@pytest.mark.parametrize(
    ("network", "scheme"),
    [
        *((plain, scheme) for scheme in ("uint8", "int8_per_channel")),
        (normalized, "uint8"),
        (leaky, "uint8"),
        *(
            pytest.param(resnet8, scheme, marks=pytest.mark.shared("models"))
            for scheme in ("uint8", "int8_per_channel")
        ),
        pytest.param(mobilenet, "uint8", marks=pytest.mark.slow),
        pytest.param(resnet50, "int8_per_channel", marks=pytest.mark.slow),
    ],
)
def test_keras_models_become_fully_integer(network: Callable[[], keras.Model], scheme: str, project: Project) -> None:
    model = network()
    if network in {resnet8, normalized}:
        project.settings["inputs"] = {"images": {"mean": 0.0, "std_dev": 1.0}}
    mean, std_dev = (project.settings["inputs"]["images"][name] for name in ("mean", "std_dev"))
    tflite, _ = converted(project, model, scheme=scheme, **PTQ)
    images = np.random.default_rng(1).integers(0, 256, [24, 32, 32, 3], np.uint8)[:8]
    codes = run(tflite, images if scheme == "uint8" else int8(images))
    expected = model.predict((images.astype(np.float32) - mean) / std_dev, verbose=0)
    # The images are noise, of which no network is sure: what counts is that no layer computes something else. In fifty
    # random layers the 8 bits themselves add up to more than that.
    if network in {mobilenet, resnet50}:
        return
    assert np.abs((codes.astype(np.float32) + (0 if scheme == "uint8" else 128)) / 256 - expected).mean() < 0.02


@pytest.mark.parametrize("freeze_bn_delay", [None, 2])
def test_keras_model_is_fine_tuned_and_its_batch_norms_frozen(freeze_bn_delay: int | None, project: Project) -> None:
    _, facts = converted(project, plain(), steps=3, checkpoint_every=1, freeze_bn_delay=freeze_bn_delay)
    assert facts["steps"] == [1, 2, 3]
    folder = project.root / "work/quantize/out"
    first, second, third = (tensors(folder / f"model.ckpt-{step}") for step in (1, 2, 3))
    averages = [name for name in first if "moving_" in name]
    assert len(averages) == 6
    frozen = {name: second[name] == third[name] == first[name] for name in averages}
    assert set(frozen.values()) == {freeze_bn_delay is not None}
