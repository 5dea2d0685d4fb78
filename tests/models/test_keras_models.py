"""Keras 3 models in a TF 1 graph: what they compute, and their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.quantize.batch_norm.fold import fold
from qatbuild.worker import models
from qatbuild.worker.training import checkpoint
from tests.conftest import SHARED
from tests.graph.folding import foldable
from tests.models.keras_graphs import Built, call, eagerly, in_file

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
RESNET8 = SHARED / "models" / "mlperf_tiny_resnet8.h5"


@pytest.mark.parametrize(
    ("function", "shape", "batch_norms"),
    [
        ("plain", (8, 8, 3), 3),
        ("nested", (8, 8, 3), 1),
        pytest.param("mobilenet", (32, 32, 3), 52, marks=pytest.mark.slow),
        pytest.param("resnet50", (32, 32, 3), 53, marks=pytest.mark.slow),
    ],
)
def test_file_computes_what_keras_predicts_also_with_its_batch_norms_folded(
    function: str, shape: tuple[int, int, int], batch_norms: int, tmp_path: Path
) -> None:
    model = eagerly(function, shape)
    spec = in_file(model, tmp_path / "net.keras")
    _assert_like_keras(spec, model, shape, batch_norms)


@pytest.mark.shared("models")
def test_keras_2_file_computes_what_keras_predicts_also_with_its_batch_norms_folded() -> None:
    model = keras.models.load_model(RESNET8, compile=False)
    built = _assert_like_keras({"keras": str(RESNET8)}, model, (32, 32, 3), 7, scale=255)
    assert built.logits.name == "model/dense/BiasAdd:0"


def _assert_like_keras(
    spec: dict[str, Any], model: keras.Model, shape: tuple[int, int, int], batch_norms: int, scale: float = 1.0
) -> Built:
    images = scale * np.random.default_rng(1).random([4, *shape], np.float32)
    expected = model.predict(images, verbose=0)
    values = models.initial({"images": shape}, networks.read(spec))
    built = Built(spec, shape)
    assert values is not None
    assert set(values) == set(built.variables)
    built.start(values)
    is_softmax = np.allclose(expected.sum(1), 1, atol=1e-4)
    output = built.probabilities if is_softmax else built.logits
    np.testing.assert_allclose(built.session.run(output, {built.images: images}), expected, atol=1e-4)
    norms = foldable(built.graph, training=False)
    assert len(norms) == batch_norms
    with built.graph.as_default():
        for each in norms:
            fold(each)
    np.testing.assert_allclose(built.session.run(output, {built.images: images}), expected, atol=1e-4)
    return built


def test_names_are_the_models_the_layers_and_the_variables_in_both_graphs() -> None:
    training, inference = (Built(call("plain"), training=training) for training in (True, False))
    assert list(training.variables) == list(inference.variables)
    assert list(inference.variables)[:6] == [
        "plain/conv2d/kernel",
        "plain/conv2d/bias",
        "plain/batch_normalization/gamma",
        "plain/batch_normalization/beta",
        "plain/batch_normalization/moving_mean",
        "plain/batch_normalization/moving_variance",
    ]
    assert inference.graph.get_operation_by_name("plain/conv2d/convolution").type == "Conv2D"
    assert "plain/dense_1/kernel" in inference.variables
    assert inference.logits.op.name == "plain/dense_1/BiasAdd"
    assert inference.probabilities.op.name == "plain/Predictions/Softmax"


def test_layers_of_one_name_in_nested_models_get_names_of_their_own() -> None:
    names = list(Built(call("nested")).variables)
    assert len(set(names)) == len(names)
    assert sum(name.endswith("kernel") for name in names) == 3


def test_names_that_no_scope_can_have_are_made_valid(tmp_path: Path) -> None:
    parts = [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="conv 1"), keras.layers.Flatten()]
    model = keras.Sequential([*parts, keras.layers.Dense(10, name="(logits)")], name="my net (2)")
    built = Built(in_file(model, tmp_path / "net.keras"))
    kernels = {each.op.name for each in built.graph.get_collection("variables") if "kernel" in each.op.name}
    assert kernels == {"my_net__2_/conv_1/kernel", "my_net__2_/_logits_/kernel"}


def test_weights_of_a_file_become_a_checkpoint_of_those_names(tmp_path: Path) -> None:
    spec = in_file(eagerly("plain"), tmp_path / "net.keras")
    values = models.initial({"images": (8, 8, 3)}, networks.read(spec))
    assert values is not None
    checkpoint.write(values, tmp_path / "own" / "model.ckpt")
    built = Built(spec)
    with built.graph.as_default():
        built.start()
        checkpoint.restore(built.session, built.variables.values(), tmp_path / "own" / "model.ckpt")
    restored = built.session.run(built.variables)
    assert {name: value.tobytes() for name, value in restored.items()} == {
        name: value.tobytes() for name, value in values.items()
    }
