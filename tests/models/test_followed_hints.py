"""A Keras model or a function that is refused is taken when it is written as the hint says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.exchange.errors import StageError
from qatbuild.worker import models
from tests.hints import follows
from tests.models.classifier import classifier

pytestmark = pytest.mark.tf

v1 = tf.compat.v1

FUNCTIONS = """
import keras
import numpy as np
import tensorflow as tf
from keras import layers

def plain(images, classes, *, training):
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(classes)])

class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs

def subclassed(images, classes, *, training):
    return Subclassed()

def with_activation(activation):
    def network(images, classes, *, training):
        return keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(classes, activation)])
    return network

sigmoid, softmax = with_activation("sigmoid"), with_activation("softmax")

def loaded(images, classes, *, training):
    model = plain(images, classes, training=training)
    for variable in model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    return model

class Configured(layers.Layer):
    def __init__(self, factor, **settings):
        super().__init__(**settings)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

class Unconfigured(Configured):
    def get_config(self):
        return layers.Layer.get_config(self)

class Noisy(layers.Layer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, inputs, training=False):
        return keras.random.dropout(inputs, 0.5, seed=self.seeds) if training else inputs

def around(layer):
    def network(images, classes, *, training):
        return keras.Sequential([keras.Input((8, 8, 3)), layer(), layers.Flatten(), layers.Dense(classes)])
    return network

unconfigured, configured = around(lambda: Unconfigured(2.0)), around(lambda: Configured(2.0))
noisy, dropout = around(lambda: Noisy()), around(lambda: layers.Dropout(0.5))
resized, flipped = around(lambda: layers.Resizing(4, 4)), around(lambda: layers.RandomFlip())

def adding(constant):
    def network(images, classes, *, training):
        x = inputs = keras.Input((8, 8, 3))
        return keras.Model(inputs, layers.Dense(classes)(layers.Flatten()(x + constant())))
    return network

tensor, array = adding(lambda: tf.sqrt([1.0, 2.0, 3.0])), adding(lambda: np.float32([1.0, 2.0, 3.0]))

def trained(images, classes, *, training):
    x = inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, layers.Dense(classes)(layers.Flatten()(Shift()(x))))

class Shift(layers.Layer):
    def build(self, shape):
        self.shift = self.add_weight(shape=[3], name="shift")

    def call(self, inputs):
        return inputs + self.shift

def named(name):
    def network(images, classes, *, training):
        return keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(classes)], name=name)
    return network

taken, free = named("input"), named("mine")

def doubled(images, classes, *, training):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Lambda(lambda value: value * 2.0)(x)
    return keras.Model(inputs, layers.Dense(classes)(layers.Flatten()(x)))

def positional(images):
    return images

def operators(images, classes, *, training):
    x = inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, layers.Dense(classes)(layers.Flatten()(keras.ops.relu(x))))
"""

FOLLOWED = [
    ("subclassed", follows("Build it as keras.Model(inputs, outputs) or keras.Sequential"), "plain"),
    ("subclassed", "keras.Model(inputs, outputs)", "array"),
    ("sigmoid", follows("End it with a Dense layer, with softmax or without an activation"), "softmax"),
    ("sigmoid", "without an activation", "plain"),
    ("unconfigured", follows("A custom layer needs get_config(), with every argument of"), "configured"),
    ("noisy", follows("Use keras.layers.Dropout and similar layers directly in the model"), "dropout"),
    ("resized", follows("leave it out and prepare the dataset"), "plain"),
    ("flipped", follows('leave it out; use "augment" in the spec'), "plain"),
    ("tensor", follows("Write constants as NumPy arrays or numbers, and what is to be trained"), "array"),
    ("tensor", "what is to be trained as a layer", "trained"),
    ("taken", follows("give the model another name"), "free"),
    ("positional", follows("It is called as function("), "plain"),
]


@pytest.fixture(autouse=True)
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "hintnets.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hintnets", raising=False)
    return importlib.import_module("hintnets")


def built(model: dict[str, Any], *, training: bool = True, shape: tuple[int, int, int] = (8, 8, 3)) -> tf.Tensor:
    with tf.Graph().as_default():
        v1.set_random_seed(1)
        v1.train.get_or_create_global_step()
        images = v1.placeholder(tf.float32, [None, *shape], name="input")
        return classifier(images, networks.read(model), training=training)


def call(function: str) -> dict[str, Any]:
    return {"call": f"hintnets:{function}"}


def hint_of(model: dict[str, Any], **settings: Any) -> str:
    with pytest.raises(StageError) as refused:
        built(model, **settings)
    return refused.value.hint


@pytest.mark.parametrize(("function", "hint", "followed"), FOLLOWED, ids=[f"{row[0]} {row[2]}" for row in FOLLOWED])
def test_a_function_that_follows_the_hint_is_built(function: str, hint: str, followed: str) -> None:
    assert hint in hint_of(call(function))
    for training in (True, False):
        assert built(call(followed), training=training).shape[1] == 10


def test_weights_that_a_function_loads_are_taken_from_the_file_that_the_hint_names(tmp_path: Path) -> None:
    assert follows('Save the model once (model.save("net.keras")) and name the file') in hint_of(call("loaded"))
    parts = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(parts).save(tmp_path / "net.keras")
    spec = {"keras": str(tmp_path / "net.keras")}
    assert models.initial({"images": (8, 8, 3)}, networks.read(spec))
    assert built(spec).shape[1] == 10


def test_a_model_of_a_file_with_code_is_built_by_a_function(tmp_path: Path, functions: Any) -> None:
    for hint, name in (
        (follows("Files must not contain code. Build the model in a function of the project"), "doubled"),
        (follows("Build the model, with its custom classes, in a function of the"), "configured"),
        (follows("Operators and keras.ops are only read from a .keras file"), "operators"),
    ):
        path = tmp_path / ("net.h5" if name == "operators" else "net.keras")
        getattr(functions, name)(None, 10, training=False).save(path)
        assert hint in hint_of({"keras": str(path)})
        assert built(call(name)).shape[1] == 10
    functions.operators(None, 10, training=False).save(tmp_path / "net.keras")
    assert built({"keras": str(tmp_path / "net.keras")}).shape[1] == 10


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_whole_file_is_read_at_its_place(tmp_path: Path, functions: Any) -> None:
    model, whole = functions.plain(None, 10, training=False), {"keras": str(tmp_path / "net.h5")}
    assert follows("the path is relative to the spec") == hint_of(whole)
    model.save_weights(tmp_path / "net.weights.h5")
    (tmp_path / "net.weights.h5").rename(tmp_path / "net.h5")
    assert follows("Use a .keras file of Keras 3, or an .h5 file of a whole Keras 2 model") in hint_of(whole)
    keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)]).save(tmp_path / "open.keras")
    assert follows("Begin it with keras.Input((height, width, channels))") in hint_of(
        {"keras": str(tmp_path / "open.keras")}
    )
    model.save(tmp_path / "net.h5")
    assert built(whole).shape[1] == 10


def test_a_function_is_imported_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text("import a_module_that_is_not_there\n")
    assert hint_of({"call": "faulty:net"}) == ""
    assert follows("package.module is package/module.py in the folder of") in hint_of({"call": "nets.mine:plain"})
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/mine.py").write_text(FUNCTIONS)
    assert built({"call": "nets.mine:plain"}).shape[1] == 10


def test_small_images_need_another_network_or_be_larger() -> None:
    assert follows("Choose another network, or a dataset with larger images") in hint_of(
        {"name": "cifarnet"}, shape=(4, 4, 3)
    )
    assert built({"name": "digitsnet"}, shape=(8, 8, 1)).shape[1] == 10
    assert built({"name": "cifarnet"}, shape=(32, 32, 3)).shape[1] == 10


def test_a_keras_2_model_is_built_with_keras_3(functions: Any) -> None:
    keras_2 = type("Model", (), {"__module__": "tf_keras", "name": "old"})
    functions.old = lambda images, classes, *, training: keras_2()  # noqa: ARG005
    assert follows("Build it with `import keras` (Keras 3), or save it as an .h5") in hint_of(call("old"))
    assert built(call("plain")).shape[1] == 10
