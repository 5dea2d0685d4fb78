"""Keras models as people write them: operators on tensors, keras.ops, layers inside layers, values from outside."""

# ruff: noqa: ARG001  Networks are called with images and training, whether or not they read them.

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from qatbuild.exchange import networks
from qatbuild.exchange.errors import StageError
from qatbuild.quantize.graph.walk import producers, reachable
from qatbuild.worker import models
from tests.models.keras_graphs import Built

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
EAGER = tf.constant(2.0)


def conv(name: str, **settings: Any) -> keras.Layer:
    return layers.Conv2D(4, 3, padding="same", name=name, **settings)


def operators(images, classes, *, training):
    """Sums, a difference, products, a quotient, slices, functions of keras.ops, and a nested model with a sum."""
    source = x = keras.Input((8, 8, 3))
    x = conv("left")(x) + conv("right")(x)
    inner = keras.Input((8, 8, 4))
    x = keras.Model(inner, ops.relu(inner + conv("inner")(inner)), name="nested")(x)
    x = ops.concatenate([x[:, 1:-1, ::2, :2] * 2, 1.0 - x[:, 1:-1, ::2, 2:] / 4], axis=-1)
    x = ops.mean(x * np.arange(1, 5, dtype=np.float32), axis=[1, 2])
    return keras.Model(source, layers.Dense(classes)(x), name="operators")


def constants(images, classes, *, training):
    source = keras.Input((8, 8, 3))
    x = source * tf.constant([1.0, 2.0, 3.0]) * EAGER + ops.convert_to_tensor([0.5, 0.25, 0.125])
    return keras.Model(source, layers.Dense(classes)(layers.Flatten()(x)), name="constants")


class Block(keras.layers.Layer):
    """A layer of the user's own, with layers inside that have no names."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.one, self.two, self.norm = layers.Conv2D(4, 3), layers.Conv2D(4, 3), layers.BatchNormalization()

    def call(self, x, training=None):
        return ops.relu(self.norm(self.two(ops.relu(self.one(x))), training=training))


def blocks(images, classes, *, training):
    return keras.Sequential([keras.Input((8, 8, 3)), Block(), layers.Flatten(), layers.Dense(classes)], name="blocks")


def called_layers(images, classes, *, training):
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(images), training=training)
    return layers.Dense(classes)(layers.Flatten()(tf.nn.relu(x)))


def without_input(images, classes, *, training):
    return keras.Sequential([layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(classes)])


def named_output(images, classes, *, training):
    source = keras.Input((8, 8, 3), name="image")
    return keras.Model({"image": source}, {"scores": layers.Dense(classes)(layers.Flatten()(source))})


def behind_softmax(images, classes, *, training):
    x = source = keras.Input((8, 8, 3))
    x = layers.Dense(classes, activation="softmax", name="last")(layers.Flatten()(x))
    return keras.Model(source, layers.Identity()(layers.Dropout(0.5)(x)), name="net")


def grouped(images, classes, *, training):
    source = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, groups=3, name="grouped")(source)
    return keras.Model(source, layers.Dense(classes)(layers.Flatten()(x)), name="net")


@tf.function
def _doubled(x):
    return tf.nn.relu(x) * 2.0


def functions(images, classes, *, training):
    weights = v1.get_variable("weights", [192, classes], use_resource=True)
    return tf.matmul(_doubled(tf.reshape(images, [-1, 192])), weights)


def frames(images, classes, *, training):
    source = keras.Input((8, 10))
    return keras.Model(source, layers.Dense(classes)(layers.Flatten()(layers.Conv1D(4, 3)(source))))


def fine_tuned(images, classes, *, training):
    """The guide to transfer learning: the base is called with training=False."""
    source, inner = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    base = keras.Model(inner, layers.BatchNormalization()(conv("conv")(inner)), name="base")
    base.trainable = False
    return keras.Model(source, layers.Dense(classes)(layers.Flatten()(base(source, training=False))))


def mixed(images, classes, *, training):
    source = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, dtype="mixed_float16")(source)
    return keras.Model(source, layers.Dense(classes, dtype="mixed_float16")(layers.Flatten()(x)))


def foreign_variable(images, classes, *, training):
    source = keras.Input((8, 8, 3))
    return keras.Model(source, layers.Dense(classes)(layers.Flatten()(source * keras.Variable([1.0, 2.0, 3.0]))))


def drawn_constant(images, classes, *, training):
    source = keras.Input((8, 8, 3))
    return keras.Model(source, layers.Dense(classes)(layers.Flatten()(source * tf.random.normal([3]))))


def failing(images, classes, *, training):
    source = keras.Input((8, 8, 3))
    x = ops.reshape(source, (ops.shape(source)[0], 192))
    return keras.Model(source, layers.Dense(classes)(x))


class Unspoken(keras.layers.Layer):
    def __init__(self, factor: Any) -> None:
        super().__init__(name="unspoken")
        self.factor = factor

    def call(self, x):
        return x * self.factor


def unspoken(images, classes, *, training):
    source = keras.Input((8, 8, 3))
    return keras.Model(
        source, layers.Dense(classes)(layers.Flatten()(Unspoken(np.eye(3, dtype=np.float32)[0])(source)))
    )


def call(function: Any) -> dict[str, Any]:
    return {"call": f"{__name__}:{function.__name__}", "options": {}}


def eagerly(function: Any) -> keras.Model:
    return function(np.zeros([1, 8, 8, 3]), 10, training=False)


def kinds(built: Built) -> set[str]:
    return {str(each.type) for each in reachable([built.logits.op], producers)}


def test_a_file_with_operators_computes_what_keras_predicts(tmp_path: Path) -> None:
    model = eagerly(operators)
    path = tmp_path / "net.keras"
    model.save(path)
    values = models.initial({"images": (8, 8, 3)}, networks.read({"keras": str(path)}))
    built = Built({"keras": str(path)})
    assert values is not None
    assert set(values) == set(built.variables)
    built.start(values)
    images = np.random.default_rng(1).normal(size=[4, 8, 8, 3]).astype(np.float32)
    logits = built.session.run(built.logits, {built.images: images})
    np.testing.assert_allclose(logits, model.predict(images, verbose=0), atol=1e-5)


def test_an_h5_file_with_operators_which_keras_cannot_read_is_refused_with_the_format_that_it_can(
    tmp_path: Path,
) -> None:
    eagerly(operators).save(tmp_path / "net.h5")
    with pytest.raises(StageError) as refused:
        models.initial({"images": (8, 8, 3)}, networks.read({"keras": str(tmp_path / "net.h5")}))
    assert "Relu" in refused.value.block()
    assert ".keras" in refused.value.hint


def test_names_of_operators_are_unique_and_depend_on_the_model_alone() -> None:
    keras.Input((3,)) + 1.0  # numbers the operators of this thread
    training, inference = (Built(call(operators), training=training) for training in (True, False))
    for built in (training, inference):
        names = [each.name for each in built.graph.get_operations() if each.type == "AddV2"]
        assert {"operators/add/Add", "operators/add_1/Add"} <= set(names), names
    assert list(training.variables) == list(inference.variables)


def test_constants_from_outside_of_the_model_are_constants_of_the_copy() -> None:
    built = Built(call(constants))
    start = built.start()
    images = np.ones([1, 8, 8, 3], np.float32)
    scaled = np.broadcast_to(np.array([2.5, 4.25, 6.125], np.float32), [8, 8, 3]).reshape(1, -1)
    expected = scaled @ start["constants/dense/kernel"] + start["constants/dense/bias"]
    np.testing.assert_allclose(built.session.run(built.logits, {built.images: images}), expected, rtol=1e-4)


@pytest.mark.parametrize("function", [blocks, called_layers])
def test_layers_without_names_get_the_same_names_in_every_graph_and_move_their_averages(function: Any) -> None:
    training, inference, again = (Built(call(function), training=each) for each in (True, False, True))
    assert list(training.variables) == list(inference.variables) == list(again.variables)
    assert len(training.graph.get_collection(v1.GraphKeys.UPDATE_OPS)) == 2
    assert not inference.graph.get_collection(v1.GraphKeys.UPDATE_OPS)


@pytest.mark.parametrize("function", [without_input, named_output, mixed])
def test_other_forms_of_a_model_are_built(function: Any) -> None:
    built = Built(call(function))
    assert built.logits.dtype == tf.float32
    assert "Cast" not in kinds(built)


def test_the_softmax_is_left_out_also_behind_layers_that_do_nothing_in_inference() -> None:
    assert Built(call(behind_softmax)).logits.name == "net/last/BiasAdd:0"


def test_functions_of_tensorflow_become_operations_of_the_graph() -> None:
    assert "Conv2D" in kinds(Built(call(grouped)))
    for function in (grouped, functions):
        assert not {"PartitionedCall", "StatefulPartitionedCall"} & kinds(Built(call(function)))


def test_augmentation_in_a_trained_model_is_left_out(tmp_path: Path) -> None:
    source = keras.Input((8, 8, 3))
    random = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)], name="augmentation")
    x = layers.Dense(10)(layers.Flatten()(conv("conv")(random(source))))
    keras.Model(source, x, name="net").save(tmp_path / "net.keras")
    spec = {"keras": str(tmp_path / "net.keras")}
    values = models.initial({"images": (8, 8, 3)}, networks.read(spec))
    built = Built(spec, training=True)
    assert set(values or {}) == set(built.variables)
    assert not any("Random" in each for each in kinds(built))


def test_a_last_dimension_of_one_is_removed_as_keras_does() -> None:
    built = Built(call(frames), (8, 10, 1))
    assert built.logits.shape.as_list() == [None, 10]


def test_a_base_that_is_called_with_training_false_keeps_its_averages() -> None:
    assert not Built(call(fine_tuned), training=True).graph.get_collection(v1.GraphKeys.UPDATE_OPS)


@pytest.mark.parametrize(
    ("function", "fragments"),
    [
        (foreign_variable, ["multiply", "Multiply", "belongs to none of its layers", "as a layer"]),
        (drawn_constant, ["multiply", "random_normal", "NumPy arrays"]),
        (failing, ["reshape", "Reshape", "cannot be computed", "TypeError"]),
        (unspoken, ["unspoken", "Unspoken", "cannot be copied", "get_config()"]),
    ],
)
def test_what_cannot_be_copied_is_named(function: Any, fragments: list[str]) -> None:
    with pytest.raises(StageError) as refused:
        Built(call(function))
    assert [each for each in fragments if each not in refused.value.block()] == []
