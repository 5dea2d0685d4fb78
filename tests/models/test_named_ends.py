"""Inputs and outputs by name: of functions, of Keras models, and of the results that tasks read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

from qatbuild.exchange.errors import StageError
from tests.hints import follows
from tests.models.graphs import Built, drawn

pytestmark = pytest.mark.tf

FUNCTIONS = """
import keras
import tensorflow as tf
from keras import layers as L
from qatbuild.worker.models import layers

def both(inputs, sizes, *, training):
    net = tf.concat([layers.flatten(inputs["picture"]), inputs["sound"]], 1)
    return {name: layers.dense(net, size or 2, scope=f"Both/{name}", activation=None) for name, size in sizes.items()}

def one(images, classes, *, training):
    return {"logits": layers.dense(layers.flatten(images), classes or 7, scope="fc", activation=None)}

def listed(inputs, sizes, *, training):
    return list(both(inputs, sizes, training=training).values())

def halves(inputs, sizes, *, training):
    return {"kinds": both(inputs, {"kinds": 3}, training=training)["kinds"]}

def keras_heads(inputs, sizes, *, training):
    picture, sound = keras.Input((4, 4, 1), name="picture"), keras.Input((3,), name="sound")
    net = L.Concatenate()([L.Flatten()(picture), sound])
    return keras.Model([picture, sound], [L.Dense(sizes["kind"], name="kind")(net), L.Dense(4, name="box")(net)])

def probable(inputs, sizes, *, training):
    tensors = both(inputs, sizes, training=training)
    return {"kind": tf.identity(tf.nn.softmax(tensors["kind"])), "tags": tf.sigmoid(tensors["tags"]),
            "share": tf.nn.softmax(tensors["share"])}

def faulty(inputs, sizes, *, training):
    return inputs["nothing"]
"""
SHAPES = {"picture": (4, 4, 1), "sound": (3,)}


@pytest.fixture(autouse=True)
def _functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "namednets.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "namednets", raising=False)


def refusal(model: dict[str, Any], *arguments: Any, **named: Any) -> StageError:
    with pytest.raises(StageError) as refused:
        Built(model, *arguments, **named)
    return refused.value


def test_function_with_several_ends_takes_and_returns_dictionaries() -> None:
    sizes = {"kind": 5, "box": None}
    built = Built({"call": "namednets:both"}, SHAPES, sizes, {"kind": "softmax"})
    assert {name: each.shape[-1] for name, each in built.tensors.items()} == {"kind": 5, "box": 2}
    assert built.results["kind"].op.name == "Both/Predictions/Softmax"
    assert built.results["box"].op.name == "Both/Predictions/box"
    np.testing.assert_allclose(built.run(drawn(SHAPES))["kind"].sum(1), 1, rtol=1e-5)


def test_lone_output_may_have_any_name_and_its_own_size() -> None:
    built = Built({"call": "namednets:one"}, {"picture": (4, 4, 1)}, {"labels": None})
    assert built.tensors["labels"].shape.as_list() == [None, 7]
    assert built.results["labels"].op.name == "fc/Predictions/labels"


def test_activation_that_the_task_computes_is_left_out_at_the_end_of_a_function() -> None:
    ends = {"kind": "softmax", "tags": "sigmoid", "share": ""}
    built = Built({"call": "namednets:probable"}, SHAPES, dict.fromkeys(ends, 3), ends)
    assert [each.op.type for each in built.tensors.values()] == ["BiasAdd", "BiasAdd", "Softmax"]
    assert [each.op.type for each in built.results.values()] == ["Softmax", "Sigmoid", "Identity"]


def test_missing_output_is_answered_with_those_that_exist() -> None:
    error = refusal({"call": "namednets:halves"}, SHAPES, {"kind": 3, "box": 4})
    facts = dict(error.facts)
    assert facts["outputs.kind"] == "nearest: kinds"
    assert facts["it has"] == "kinds"
    assert follows("Name the {} of the spec as the network does").format("outputs") in error.hint
    assert Built({"call": "namednets:halves"}, SHAPES, {"kinds": 3}).tensors


def test_list_of_several_outputs_has_no_names() -> None:
    error = refusal({"call": "namednets:listed"}, SHAPES, {"kind": 3, "box": 4})
    assert error.hint.startswith(follows("Return {"))
    assert "list of 2" in error.block()
    assert Built({"call": "namednets:both"}, SHAPES, {"kind": 3, "box": 4}).tensors


def test_function_of_several_ends_that_fails_is_shown_how_it_is_called() -> None:
    error = refusal({"call": "namednets:faulty"}, SHAPES, {"kind": 3, "box": 4})
    assert "KeyError: 'nothing'" in error.block()
    assert "function({picture, sound}, {'kind': 3, 'box': 4}, training=..., **options)" in error.hint


@pytest.mark.parametrize(
    ("shapes", "sizes", "hint"),
    [
        (SHAPES, {"labels": 3}, follows("Write a network with several in a function of the project")),
        ({"images": (8, 8, 1)}, {"labels": None}, follows('Leave "labels": false out of the dataset')),
    ],
)
def test_shipped_network_has_one_input_and_one_output_of_known_size(
    shapes: dict[str, tuple[int, ...]], sizes: dict[str, int | None], hint: str
) -> None:
    assert hint in refusal({"name": "digitsnet"}, shapes, sizes).hint
    assert Built({"call": "namednets:halves"}, SHAPES, {"kind": 3}).tensors
    assert Built({"name": "digitsnet"}, {"images": (8, 8, 1)}, {"labels": 3}).tensors


def test_keras_function_with_lists_of_ends_is_matched_by_the_layers_names() -> None:
    spec = {"call": "namednets:keras_heads"}
    built = Built(spec, dict(reversed(SHAPES.items())), {"box": 4, "kind": 3}, training=True)
    assert {name: each.op.name.split("/")[1] for name, each in built.tensors.items()} == {"box": "box", "kind": "kind"}
    wrong = refusal(spec, SHAPES, {"kind": 3, "box": 5})
    assert wrong.facts[1:] == [
        ("output", "box"),
        ("wanted", "float32 tensor [batch, 5]"),
        ("got", "float32 tensor [None, 4]"),
    ]


def heads(form: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = {"picture": keras.Input((4, 4, 1), name="picture"), "sound": keras.Input((3,), name="sound")}
    net = L.Concatenate()([L.Flatten()(inputs["picture"]), inputs["sound"]])
    outputs = [
        L.Dense(3, activation="softmax", name="kind")(net),
        L.Dense(2, activation="sigmoid", name="tags")(net),
        L.Dense(4, activation="softmax", name="share")(net),
        L.Dense(1, activation="sigmoid", name="size")(net),
    ]
    if form == "dict":
        names = ("kind", "tags", "share", "size")
        return keras.Model(
            inputs, {f"my {name}": each for name, each in zip(names, outputs, strict=True)}, name="heads"
        )
    return keras.Model(list(inputs.values()), outputs, name="heads")


@pytest.mark.parametrize("form", ["dict", "list"])
def test_file_with_several_ends_computes_what_keras_predicts(form: str, tmp_path: Path) -> None:
    model = heads(form)
    model.save(tmp_path / "net.keras")
    kinds = {"kind": "softmax", "tags": "sigmoid", "share": "", "size": ""}
    ends = {f"my {name}" if form == "dict" else name: end for name, end in kinds.items()}
    arrays = drawn(SHAPES)
    built = Built({"keras": str(tmp_path / "net.keras")}, dict(reversed(SHAPES.items())), dict.fromkeys(ends), ends)
    assert [each.op.type for each in built.tensors.values()] == ["BiasAdd", "BiasAdd", "Softmax", "Sigmoid"]
    expected = model.predict(arrays if form == "dict" else list(arrays.values()), verbose=0)
    expected = expected if form == "dict" else dict(zip(ends, expected, strict=True))
    for name, result in built.run(arrays).items():
        np.testing.assert_allclose(result, expected[name], atol=1e-5)


def test_lone_output_of_a_file_with_several_is_chosen_by_name(tmp_path: Path) -> None:
    heads("list").save(tmp_path / "net.keras")
    spec = {"keras": str(tmp_path / "net.keras")}
    assert Built(spec, SHAPES, {"kind": 3}).tensors["kind"].op.type == "Softmax"
    error = refusal(spec, SHAPES, {"kinds": 3})
    assert ("outputs.kinds", "nearest: kind") in error.facts
    assert "kind, tags, share, size" in error.block()


def test_input_that_the_spec_leaves_out_is_named(tmp_path: Path) -> None:
    heads("list").save(tmp_path / "net.keras")
    spec = {"keras": str(tmp_path / "net.keras")}
    error = refusal(spec, {"sound": (3,)}, {"kind": 3})
    assert ("not among them", "picture") in error.facts
    assert follows("The spec lists every input of the network") in error.hint
    assert Built(spec, SHAPES, {"kind": 3}).tensors


def test_probabilities_of_labels_may_end_in_sigmoid_alone(tmp_path: Path) -> None:
    spec = {"keras": str(tmp_path / "net.keras")}
    for activation in ("softmax", "sigmoid"):
        keras.Sequential([keras.Input((3,)), L.Dense(2, activation=activation)]).save(tmp_path / "net.keras")
        if activation == "softmax":
            error = refusal(spec, {"features": (3,)}, {"tags": 2}, {"tags": "sigmoid"})
            assert follows("End it with a Dense layer, with sigmoid or") in error.hint
            assert ("ends in", "Softmax") in error.facts
    built = Built(spec, {"features": (3,)}, {"tags": 2}, {"tags": "sigmoid"})
    assert built.tensors["tags"].op.type == "BiasAdd"


def test_tensor_of_an_output_with_two_is_returned_by_its_whole_name() -> None:
    sizes = {"box/boxes": 4, "box/scores": 3}
    error = refusal({"call": "namednets:halves"}, SHAPES, sizes)
    assert error.hint == follows("Return each tensor by its name, {}, or name it with").format(", ".join(sizes)) + (
        ' "_" instead of "/".'
    )
    assert Built({"call": "namednets:both"}, SHAPES, sizes).tensors
