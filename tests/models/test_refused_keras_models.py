"""Keras models and files that no network can be made of."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from qatbuild.exchange.errors import StageError
from tests.models.keras_graphs import Built, call, eagerly

pytestmark = pytest.mark.tf


@pytest.mark.parametrize(
    ("function", "fragments"),
    [
        ("subclassed", ["subclassed", "Subclassed", f"Keras {keras.__version__}", "keras.Model(inputs, outputs)"]),
        ("two_outputs", ["no such output", "outputs.labels  missing", "dense, dense_1"]),
        ("augmented", ["RandomFlip", '"augment"']),
        ("sigmoid", ["Sigmoid", "softmax"]),
        ("given_weights", ["weights", "they would be lost", 'model.save("net.keras")']),
    ],
)
def test_models_that_are_refused(function: str, fragments: list[str]) -> None:
    with pytest.raises(StageError) as refused:
        Built(call(function), training=True)
    for fragment in fragments:
        assert fragment in refused.value.block()


def test_images_of_another_shape_are_refused_with_shape_got_and_wanted() -> None:
    with pytest.raises(StageError) as refused:
        Built(call("wide"), shape=(9, 8, 3))
    assert refused.value.facts[1:] == [("images", "9x8x3"), ("wanted", "8x8x3")]


def test_function_may_use_lambda_layers_but_a_file_may_not(tmp_path: Path) -> None:
    built = Built(call("with_lambda"))
    built.start()
    eagerly("with_lambda").save(tmp_path / "lambda.keras")
    eagerly("with_lambda").save(tmp_path / "lambda.h5")
    for name in ("lambda.keras", "lambda.h5"):
        with pytest.raises(StageError, match="Lambda") as refused:
            Built({"keras": str(tmp_path / name)})
        assert "model.call" in refused.value.hint


def test_file_with_classes_of_the_users_own_is_refused(tmp_path: Path) -> None:
    class Twice(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, keras.layers.Flatten()(Twice()(inputs))).save(tmp_path / "own.keras")
    with pytest.raises(StageError, match="classes that Keras does not read") as refused:
        Built({"keras": str(tmp_path / "own.keras")})
    assert "model.call" in refused.value.hint


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x89HDF\r\n\x1a\n"])
@pytest.mark.parametrize("name", ["broken.keras", "broken.h5"])
def test_file_that_is_no_keras_model_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StageError, match="cannot be read") as refused:
        Built({"keras": str(tmp_path / name)})
    assert name in refused.value.block()


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="Keras file does not exist"):
        Built({"keras": str(tmp_path / "nowhere.keras")})
