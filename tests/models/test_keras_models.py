"""Keras 3 models in a TF 1 graph: their outputs, names, training and refusals."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.exchange.errors import StageError
from qatbuild.quantize.batch_norm.fold import fold
from qatbuild.worker import models
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.session import deterministic
from tests.conftest import SHARED
from tests.graph.folding import foldable
from tests.models.classifier import classifier

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
RESNET8 = SHARED / "models" / "mlperf_tiny_resnet8.h5"

FUNCTIONS = """
import keras
import numpy as np
from keras import layers

def plain(images, classes, *, training, width=4):
    return keras.Sequential([
        keras.Input(images.shape[1:]),
        layers.Conv2D(width, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, use_bias=False),
        layers.BatchNormalization(scale=False),
        layers.ReLU(6),
        layers.Flatten(),
        layers.Dense(8),
        layers.BatchNormalization(axis=1, momentum=0.9),
        layers.Dropout(0.5),
        layers.Dense(classes, activation="softmax"),
    ], name="plain")

def nested(images, classes, *, training):
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()])
    inner.trainable = False
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 1, name="conv2d")(x)
    x = layers.Flatten()(inner(x))
    return keras.Model(inputs, layers.Dense(classes)(x))

def mobilenet(images, classes, *, training):
    return keras.applications.MobileNetV2(images.shape[1:], weights=None, classes=classes, alpha=0.35)

def resnet50(images, classes, *, training):
    return keras.applications.ResNet50(input_shape=images.shape[1:], weights=None, classes=classes)

def given_weights(images, classes, *, training):
    model = plain(images, classes, training=training)
    for variable in model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    return model

def with_lambda(images, classes, *, training):
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Lambda(lambda value: value * 2.0)(x)
    return keras.Model(inputs, layers.Dense(classes)(layers.Flatten()(x)))

class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs

def subclassed(images, classes, *, training):
    return Subclassed()

def two_outputs(images, classes, *, training):
    inputs = keras.Input((8, 8, 3))
    net = layers.Flatten()(inputs)
    return keras.Model(inputs, [layers.Dense(classes)(net), layers.Dense(classes)(net)])

def around(layer, activation=None):
    def network(images, classes, *, training):
        return keras.Sequential([
            keras.Input((8, 8, 3)), layer(), layers.Flatten(), layers.Dense(classes, activation=activation)
        ])
    return network

augmented = around(lambda: layers.RandomFlip())
sigmoid = around(lambda: layers.ReLU(), activation="sigmoid")
wide = around(lambda: layers.ZeroPadding2D())
"""


@pytest.fixture(autouse=True)
def _functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kerasnets.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "kerasnets", raising=False)


class Built:
    """A network in a graph of its own."""

    def __init__(
        self, model: dict[str, Any], shape: tuple[int, int, int] = (8, 8, 3), *, training: bool = False, seed: int = 1
    ) -> None:
        deterministic()
        self.graph = tf.Graph()
        with self.graph.as_default():
            v1.set_random_seed(seed)
            self.step = v1.train.get_or_create_global_step()
            self.images = v1.placeholder(tf.float32, [None, *shape], name="input")
            self.logits = classifier(self.images, networks.read(model), training=training)
            self.probabilities = models.predict(self.logits)
            self.variables = {each.op.name: each for each in v1.global_variables() if each.op.name != "global_step"}
            self.trainable = [each.op.name for each in v1.trainable_variables()]
            self.session = v1.Session()

    def start(self, values: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        with self.graph.as_default():
            feed = {self.variables[name].initial_value: value for name, value in (values or {}).items()}
        self.session.run([each.initializer for each in (self.step, *self.variables.values())], feed)
        return self.session.run(self.variables)


def call(function: str, **options: Any) -> dict[str, Any]:
    return {"call": f"kerasnets:{function}", "options": options}


def in_file(model: keras.Model, path: Path) -> dict[str, Any]:
    random = np.random.default_rng(3)
    for variable in model.variables:
        if "moving" in variable.name or "gamma" in variable.name or "beta" in variable.name:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    model.save(path)
    return {"keras": str(path)}


def eagerly(function: str, shape: tuple[int, int, int] = (8, 8, 3)) -> keras.Model:
    kerasnets = importlib.import_module("kerasnets")  # written by a fixture
    return getattr(kerasnets, function)(np.zeros([1, *shape]), 10, training=False)


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


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        ("plain", (8, 8, 3)),
        pytest.param("mobilenet", (32, 32, 3), marks=pytest.mark.slow),
        pytest.param("resnet50", (32, 32, 3), marks=pytest.mark.slow),
    ],
)
def test_folded_it_learns_as_unfolded_and_its_moving_averages_move(function: str, shape: tuple[int, int, int]) -> None:
    images, labels = np.random.default_rng(1).random([8, *shape], np.float32), np.arange(8)
    results: list[list[np.ndarray]] = []
    for with_folding in (True, False)[: 2 if function == "plain" else 1]:
        built = Built(call(function), shape, training=True)
        with built.graph.as_default():
            norms = foldable(built.graph, training=True) if with_folding else []
            assert all(each.training for each in norms)
            for each in norms:
                fold(each)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, built.probabilities.op.inputs[0])
            )
            with tf.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
                step = v1.train.GradientDescentOptimizer(0.01).minimize(loss, built.step)
        before = built.start()
        losses = [built.session.run([loss, step], {built.images: images})[0] for _ in range(2)]
        after = built.session.run(built.variables)
        assert all(np.any(before[name] != after[name]) for name in before if "moving_" in name or "kernel" in name)
        assert np.isfinite(losses).all()
        results.append([*losses, *(value for name, value in after.items() if "moving_" in name)])
    for folded, plain in zip(results[0], results[-1], strict=True):
        np.testing.assert_allclose(folded, plain, rtol=1e-3, atol=1e-4)


def test_after_the_freeze_each_layer_runs_one_convolution() -> None:
    built = Built(call("plain"), training=True)
    with built.graph.as_default():
        for each in foldable(built.graph, training=True):
            fold(each, freeze_delay_steps=2)
        loss = tf.reduce_mean(built.logits)
        updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
        with tf.control_dependencies(updates):
            step = v1.train.GradientDescentOptimizer(0.01).minimize(loss, built.step)
        counted = v1.global_variables()[-1]
    built.start()
    built.session.run(counted.initializer)
    images, ran = np.random.default_rng(1).random([8, 8, 8, 3], np.float32), []
    for _ in range(3):
        options, traced = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE), v1.RunMetadata()
        built.session.run([loss, step], {built.images: images}, options, traced)
        labels = [each.timeline_label for device in traced.step_stats.dev_stats for each in device.node_stats]
        kernels = [label.partition(" = ")[2].partition("(")[0] for label in labels]
        ran.append(sum("onv" in kernel and "Backprop" not in kernel for kernel in kernels))
    assert ran == [4, 2, 2]


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


def test_frozen_layers_do_not_change() -> None:
    built = Built(call("nested"), training=True)
    assert [name.rpartition("/")[2] for name in built.trainable] == ["kernel", "bias"] * 2
    assert not built.graph.get_collection(v1.GraphKeys.UPDATE_OPS)


def test_names_and_weights_do_not_depend_on_earlier_models() -> None:
    first = Built(call("plain")).start()
    keras.layers.Dense(3)
    np.random.default_rng().random()
    again = Built(call("plain")).start()
    assert {name: value.tobytes() for name, value in first.items()} == {
        name: value.tobytes() for name, value in again.items()
    }


def test_initial_weights_depend_on_the_seed_and_the_layers_name_alone() -> None:
    one, wider, other = (
        Built(call("plain", **options), seed=seed).start() for seed, options in ((1, {}), (1, {"width": 5}), (2, {}))
    )
    kernels = [name for name in one if name.endswith("kernel")]
    assert one["plain/dense_1/kernel"].tobytes() == wider["plain/dense_1/kernel"].tobytes()
    assert not any(np.array_equal(one[name], other[name]) for name in kernels)


def test_dropout_is_of_the_training_alone_and_depends_on_the_step_alone() -> None:
    built = Built(call("plain"), training=True)
    built.start()
    images = np.random.default_rng(1).random([4, 8, 8, 3], np.float32)
    run: Callable[[], np.ndarray] = lambda: built.session.run(built.logits, {built.images: images})  # noqa: E731
    first, again = run(), run()
    with built.graph.as_default():
        built.step.load(1, built.session)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != run())
    assert not any("seed" in name for name in built.variables)
    assert not any("andom" in each.type for each in Built(call("plain")).graph.get_operations() if "Initializer" not in
                   each.name)  # fmt: skip


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


def test_function_without_keras_is_built_once_and_keeps_its_random_numbers(tmp_path: Path) -> None:
    (tmp_path / "numpynet.py").write_text(
        "import numpy as np, tensorflow as tf\n"
        "from qatbuild.worker.models import layers\n"
        "def network(images, classes, *, training):\n"
        "    drawn = np.random.random()\n"
        "    start = tf.compat.v1.constant_initializer(drawn)\n"
        "    return layers.dense(layers.flatten(images), classes, scope='only', activation=None, weights=start)\n"
    )
    np.random.seed(5)  # noqa: NPY002  as the training stage does
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    values = Built({"call": "numpynet:network"}).start()
    assert list(values) == ["only/weights", "only/biases"]
    assert values["only/weights"][0, 0] == pytest.approx(expected)


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
