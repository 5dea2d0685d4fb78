"""SavedModels of TensorFlow 1 and 2 and frozen graphs: what they compute, what training changes, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from qatbuild.exchange.errors import StageError
from qatbuild.quantize import Options, check_network, rewrite_training
from tests.hints import follows
from tests.models.graphs import Built, drawn

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
SHAPES = {"images": (6, 6, 3)}
LABELS, SOFTMAX = {"labels": 5}, {"labels": "softmax"}
NAMES = {"net/conv/weights", "net/conv/gamma", "net/conv/beta", "net/fc/weights", "net/fc/biases"}
MOMENTS = {"net/conv/mean", "net/conv/variance"}
OPTIONS = Options(mean=0, std_dev=255, scheme="int8_per_channel")


def network(images: tf.Tensor, *, training: bool = False, resource: bool = True) -> tf.Tensor:
    """A convolution with batch norm, dropout, a dense layer and softmax, with names as of TensorFlow 1."""

    def variable(name: str, *shape: int, trainable: bool = True) -> tf.Tensor:
        positive = v1.random_uniform_initializer(0.5, 1.5, seed=len(name))
        return v1.get_variable(name, shape, initializer=positive, trainable=trainable, use_resource=resource)

    with v1.variable_scope("net"):
        net = tf.nn.conv2d(images, variable("conv/weights", 3, 3, 3, 4), 1, "SAME")
        moments = [variable(f"conv/{name}", 4, trainable=False) for name in ("mean", "variance")]
        scales = [variable(f"conv/{name}", 4) for name in ("gamma", "beta")]
        moments = [None, None] if training else moments
        net = tf.nn.relu(v1.nn.fused_batch_norm(net, *scales, *moments, is_training=training)[0])
        net = tf.nn.dropout(tf.reduce_mean(net, [1, 2]), 0.5) if training else tf.reduce_mean(net, [1, 2])
        net = tf.nn.bias_add(tf.matmul(net, variable("fc/weights", 4, 5)), variable("fc/biases", 5))
        return tf.nn.softmax(net, name="prob")


def in_tensorflow_1(folder: Path, *, training: bool = False, resource: bool = True) -> np.ndarray:
    """Writes a SavedModel `net` and a frozen graph `net.pb`, and returns what the network computes."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, 6, 6, 3], name="pictures")
        output = network(images, training=training, resource=resource)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder / "net"), {"images": images}, {"scores": output})
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [output.op.name])
        (folder / "net.pb").write_bytes(frozen.SerializeToString())
        return session.run(output, {images: drawn(SHAPES)["images"]})


@pytest.mark.parametrize("resource", [True, False])
def test_files_of_tensorflow_1_compute_the_same_and_keep_their_names(resource: bool, tmp_path: Path) -> None:
    expected = in_tensorflow_1(tmp_path, resource=resource)
    for model in (
        {"saved_model": str(tmp_path / "net")},
        {"graph_def": str(tmp_path / "net.pb")},
        {"graph_def": str(tmp_path / "net.pb"), "input": "pictures", "output": "net/prob:0"},
        {"graph_def": str(tmp_path / "net.pb"), "inputs": {"images": "pictures"}, "outputs": {"labels": "net/prob"}},
    ):
        built = Built(model, SHAPES, LABELS, SOFTMAX, training=True)
        np.testing.assert_allclose(built.run(drawn(SHAPES))["labels"], expected, atol=1e-6)
        assert built.tensors["labels"].op.name == "net/BiasAdd"
        assert built.results["labels"].op.name == "net/Predictions/Softmax"
        assert set(built.variables) == NAMES | MOMENTS
        assert built.trainable == NAMES


def keras_net() -> keras.Model:
    keras.utils.set_random_seed(2)
    x = picture = keras.Input((6, 6, 3), name="picture")
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 3, use_bias=False, name="conv")(x))
    x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x)))
    kind = keras.layers.Dense(5, activation="softmax", name="kind")(x)
    model = keras.Model(picture, {"kind": kind, "size": keras.layers.Dense(1, name="size")(x)}, name="net")
    for variable in model.variables:
        if "norm" in variable.path:
            variable.assign(np.random.default_rng(1).uniform(0.5, 1.5, variable.shape))
    return model


def test_exported_keras_model_computes_the_same_and_learns_as_folded(tmp_path: Path) -> None:
    model, arrays = keras_net(), drawn({"picture": (6, 6, 3)})
    model.export(tmp_path / "net", verbose=False)
    expected = model.predict(arrays["picture"], verbose=0)
    spec, sizes, ends = {"saved_model": str(tmp_path / "net")}, {"kind": 5, "size": None}, {"kind": "softmax"}
    built = Built(spec, {"picture": (6, 6, 3)}, sizes, ends, training=True)
    for name, result in built.run(arrays).items():
        np.testing.assert_allclose(result, expected[name], atol=1e-6)
    assert not any("Call" in kind or "Random" in kind for kind in built.kinds)
    assert built.trainable == {f"{layer}/{name}" for layer in ("kind", "size") for name in ("kernel", "bias")} | {
        "conv/kernel", "norm/gamma", "norm/beta",
    }  # fmt: skip
    assert set(built.variables) - built.trainable == {"norm/moving_mean", "norm/moving_variance"}
    one = Built(spec, {"picture": (6, 6, 3)}, {"kind": 5}, ends, training=True)
    report = rewrite_training(one.graph, OPTIONS, input="input", logits=one.tensors["kind"].op.name)
    assert len(report.folded) == 1


def test_frozen_graph_with_its_batch_norms_folded_or_not_is_fully_integer(tmp_path: Path) -> None:
    model, images = keras_net(), drawn(SHAPES)["images"]
    expected = model.predict(images, verbose=0)["kind"]
    called = tf.function(lambda x: model(x, training=False)["kind"])
    frozen = convert_variables_to_constants_v2(called.get_concrete_function(tf.TensorSpec([None, 6, 6, 3])))
    (tmp_path / "unfolded.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    weights = {each.path: np.array(each) for each in model.variables}
    factor = weights["norm/gamma"] / np.sqrt(weights["norm/moving_variance"] + 1e-3)
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 6, 6, 3], name="x")
        x = tf.nn.conv2d(x, (weights["conv/kernel"] * factor).astype(np.float32), 1, "VALID")
        x = tf.nn.relu(x + (weights["norm/beta"] - weights["norm/moving_mean"] * factor).astype(np.float32))
        x = tf.matmul(tf.reduce_mean(x, [1, 2]), weights["kind/kernel"]) + weights["kind/bias"]
        tf.nn.softmax(x, name="prob")
    (tmp_path / "folded.pb").write_bytes(graph.as_graph_def().SerializeToString())
    for name, trained in (("unfolded", 3), ("folded", 4)):
        built = Built({"graph_def": str(tmp_path / f"{name}.pb")}, SHAPES, LABELS, SOFTMAX)
        np.testing.assert_allclose(built.run({"images": images})["labels"], expected, atol=1e-5)
        assert len(built.trainable) == trained
        check_network(built.graph, "input", built.tensors["labels"].op.name, {}, OPTIONS)


class Module(tf.Module):
    """Functions of the user's, of which one prepares bytes, one has a loop, and one reads encoded pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(np.random.default_rng(1).random((12, 5), np.float32), name="weights")

    @tf.function(input_signature=[tf.TensorSpec([None, 12], tf.float32, name="features")])
    def run(self, features):
        return {"scores": tf.nn.relu(features @ self.weights)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2, 6], tf.uint8, name="features")])
    def of_bytes(self, features):
        real = tf.cast(features, tf.float32, name="real") / 255.0
        return {"scores": tf.reshape(real, [-1, 12]) @ self.weights}

    @tf.function(input_signature=[tf.TensorSpec([None, 12], tf.float32, name="features")])
    def looped(self, features):
        for _ in tf.range(3):
            features = tf.nn.relu(features)
        return {"scores": features @ self.weights}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="features")])
    def encoded(self, features):
        real = tf.reshape(tf.cast(tf.io.decode_raw(features, tf.uint8, fixed_length=12), tf.float32), [-1, 12])
        return {"scores": real @ self.weights}


FEATURES, SCORES = {"features": (12,)}, {"scores": 5}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with functions and the signatures of two of them."""
    folder, saved = tmp_path_factory.mktemp("module"), Module()
    signatures = {"bytes": saved.of_bytes, "encoded": saved.encoded}
    tf.saved_model.save(saved, str(folder / "net"), signatures=signatures)
    return folder / "net"


def test_function_with_an_input_signature_needs_no_signature_of_the_file(module: Path, tmp_path: Path) -> None:
    arrays = drawn(FEATURES)
    expected = np.maximum(arrays["features"] @ Module().weights.numpy(), 0)
    lone = tf.Module()
    lone.weights, lone.go = tf.Variable(Module().weights, name="weights"), None
    lone.go = tf.function(lambda features: tf.nn.relu(features @ lone.weights)).get_concrete_function(
        tf.TensorSpec([None, 12], name="features")
    )
    tf.saved_model.save(lone, str(tmp_path / "lone"))
    for model in ({"saved_model": str(module), "signature": "run"}, {"saved_model": str(tmp_path / "lone")}):
        built = Built(model, FEATURES, SCORES)
        np.testing.assert_allclose(built.run(arrays)["scores"], expected, atol=1e-6)
        assert set(built.variables) == built.trainable == {"weights"}


def refusal(model: dict[str, Any], *arguments: Any) -> StageError:
    with pytest.raises(StageError) as refused:
        Built(model, *(arguments or (FEATURES, SCORES)))
    return refused.value


def test_preparation_inside_a_signature_is_refused_by_name_and_cut_off_behind_it(module: Path) -> None:
    spec = {"saved_model": str(module), "signature": "bytes"}
    error = refusal(spec)
    assert ("input", "features: uint8") in error.facts
    assert follows("Prepare the dataset instead, and name the tensor of real values behind that step") in error.hint
    behind = dict(error.facts)["real values after Cast"]
    built = Built({**spec, "inputs": {"features": behind}}, {"features": (2, 6)}, SCORES)
    images = drawn({"features": (2, 6)}, 255)
    expected = images["features"].reshape(4, 12) / 255 @ Module().weights.numpy()
    np.testing.assert_allclose(built.run(images)["scores"], expected, atol=1e-5)
    error = refusal({**spec, "signature": "encoded"})
    assert ("input", "features: string") in error.facts
    strings = {"signature": "encoded", "inputs": {"features": dict(error.facts)["real values after Cast"]}}
    assert Built({**spec, **strings}, FEATURES, SCORES).tensors


class Untraced(tf.Module):
    """A function that was never traced: TensorFlow saves nothing of it."""

    @tf.function
    def __call__(self, features: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.reshape(features, [-1, 12]), tf.ones([12, 5]))


def test_file_without_any_function_is_to_be_saved_with_a_signature(tmp_path: Path) -> None:
    module = Untraced()
    tf.saved_model.save(module, str(tmp_path / "saved"))
    error = refusal({"saved_model": str(tmp_path / "saved")})
    assert follows("Save it again with one: tf.saved_model.save") in error.hint
    traced = module.__call__.get_concrete_function(tf.TensorSpec([None, 2, 6], tf.float32))
    tf.saved_model.save(module, str(tmp_path / "again"), signatures=traced)
    assert Built({"saved_model": str(tmp_path / "again")}, {"features": (2, 6)}, SCORES).tensors


def test_file_without_a_usual_signature_offers_what_it_has(module: Path) -> None:
    error = refusal({"saved_model": str(module)})
    assert ("signatures", "bytes, encoded") in error.facts
    assert ("functions", "encoded, looped, of_bytes, run") in error.facts
    assert follows('Write one of them: "signature"') in error.hint
    error = refusal({"saved_model": str(module), "signature": "runs"})
    assert ("nearest", "run") in error.facts
    assert Built({"saved_model": str(module), "signature": dict(error.facts)["nearest"]}, FEATURES, SCORES).tensors


def test_loop_is_refused_by_name(module: Path) -> None:
    error = refusal({"saved_model": str(module), "signature": "looped"})
    assert "loops or branches" in error.message
    assert any("While" in label for label, _ in error.facts)
    assert follows("Build it without loops and branches") in error.hint
    assert Built({"saved_model": str(module), "signature": "run"}, FEATURES, SCORES).tensors


def test_training_graph_is_refused_also_in_a_saved_model(tmp_path: Path) -> None:
    in_tensorflow_1(tmp_path, training=True)
    error = refusal({"saved_model": str(tmp_path / "net")}, SHAPES, LABELS)
    assert "is a training graph" in error.message
    assert follows("Export the network for inference") in error.hint


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"output": "net/BiasAd"}, ["no such tensor", "model.output", "net/BiasAdd"]),
        ({"inputs": {"images": "picture"}}, ["no such tensor", "model.inputs", "pictures"]),
        ({"outputs": {"label": "net/prob", "box": "net/prob"}}, ["no such output", "outputs.labels", "nearest: label"]),
        ({"output": "net/Relu"}, ["not one score per class", "ends in", "Relu"]),
        ({"output": "net/conv/weights"}, ["do not depend on the input"]),
        ({"graph_def": "nowhere.pb"}, ["graph does not exist"]),
    ],
)
def test_frozen_graph_without_the_named_ends_offers_the_nearest(
    changes: dict[str, Any], fragments: list[str], tmp_path: Path
) -> None:
    in_tensorflow_1(tmp_path)
    model = {"graph_def": str(tmp_path / "net.pb"), "input": "pictures", "output": "net/prob"}
    for key in [key for key in model if f"{key}s" in changes]:
        del model[key]
    block = refusal({**model, **changes}, SHAPES, LABELS, SOFTMAX).block()
    assert all(fragment in block for fragment in fragments), block


def test_activation_in_front_of_which_a_graph_is_cut_is_named_by_the_hint(tmp_path: Path) -> None:
    in_tensorflow_1(tmp_path)
    error = refusal(
        {"graph_def": str(tmp_path / "net.pb"), "output": "net/prob"}, SHAPES, {"tags": 5}, {"tags": "sigmoid"}
    )
    assert follows("Name the tensor in front of it as the output") in error.hint
    model = {"graph_def": str(tmp_path / "net.pb"), "output": error.hint.split('"')[1]}
    assert Built(model, SHAPES, {"tags": 5}, {"tags": "sigmoid"}).tensors["tags"].op.name == "net/BiasAdd"


def test_frozen_graph_with_several_ends_offers_them(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        one, two = (v1.placeholder(tf.float32, [None, 12], name=name) for name in ("one", "two"))
        tf.matmul(one + two, tf.random.normal([12, 5], seed=1, name="drawn"), name="scores")
    (tmp_path / "net.pb").write_bytes(graph.as_graph_def().SerializeToString())
    error = refusal({"graph_def": str(tmp_path / "net.pb")})
    assert ("inputs, perhaps", "one\ntwo") in error.facts
    assert follows("Name them in the model") in error.hint
    inputs = {"inputs": {"a": "one", "b": "two"}}
    assert Built({"graph_def": str(tmp_path / "net.pb"), **inputs}, {"a": (12,), "b": (12,)}, SCORES).tensors


def test_inputs_of_another_shape_are_refused_with_shape_got_and_wanted(tmp_path: Path) -> None:
    in_tensorflow_1(tmp_path)
    error = refusal({"saved_model": str(tmp_path / "net")}, {"images": (6, 7, 3)}, LABELS)
    assert error.facts[1:] == [("images", "6x7x3"), ("wanted", "6x6x3")]


def test_folders_that_are_no_saved_model_are_refused_with_what_they_hold(tmp_path: Path) -> None:
    in_tensorflow_1(tmp_path)
    error = refusal({"saved_model": str(tmp_path)}, SHAPES, LABELS)
    assert follows("Name the folder inside") in error.hint
    assert Built({"saved_model": str(tmp_path.parent / error.hint.split('"')[1])}, SHAPES, LABELS).tensors
    error = refusal({"graph_def": str(tmp_path / "net")}, SHAPES, LABELS)
    assert follows('Name a folder with saved_model.pb as "saved_model"') in error.hint
    assert "does not exist" in refusal({"saved_model": str(tmp_path / "nowhere")}, SHAPES, LABELS).message
    (tmp_path / "net").rename(tmp_path / "other")
    for each in (tmp_path / "other" / "variables").glob("*.data*"):
        each.write_bytes(b"")
    assert "weights of a SavedModel cannot be read" in refusal({"saved_model": str(tmp_path / "other")}).message
    (tmp_path / "other" / "saved_model.pb").write_bytes(b"no protobuf at all \xff\xff")
    assert "cannot be read" in refusal({"saved_model": str(tmp_path / "other")}).message


ONNX = b"\x08\x08\x12\x07pytorch:\x04onnx"


@pytest.mark.parametrize(
    ("name", "content", "kind", "hint"),
    [
        ("net.tflite", b"\x1c\0\0\0TFL3", "TensorFlow Lite", "Name the float model it was made from"),
        ("net.onnx", ONNX, "ONNX", "save the model as .keras"),
        ("net.pb", ONNX, "ONNX", "save the model as .keras"),
        ("net.pt", b"PK", "PyTorch", "save the model as .keras"),
        ("net.pkl", b"\x80\x04.", "pickled", "save the model as .keras"),
        ("net.h5", b"\x89HDF\r\n\x1a\n", "a Keras file", 'Write "keras": "net.h5"'),
        ("net.meta", b"\n\0", "a meta graph", 'Write "meta_graph": "net.meta"'),
        ("saved_model.pb", b"\x08\x01", "a SavedModel", "Name its folder"),
        (
            "net.pb",
            b"no protobuf at all \xff\xff",
            "not recognised",
            follows('Take "keras" for .keras and .h5, "saved_model" for'),
        ),
        ("net.pb", b"", "not recognised", '"saved_model" for a folder'),
    ],
)
def test_files_of_other_formats_are_answered_with_what_to_write(
    name: str, content: bytes, kind: str, hint: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    sources = [
        "graph_def",
        "saved_model",
        *(["keras"] if name in {"net.tflite", "net.onnx", "net.pt", "net.pkl"} else []),
    ]
    for source in sources:
        error = refusal({source: str(tmp_path / name)})
        assert kind in dict(error.facts)["it is"]
        assert hint in error.hint
