"""What does not fit together is an error before a training: inputs without their arrays, metrics that fail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.errors import StageError
from qatbuild.worker.stages import check, ends
from qatbuild.worker.stages import float as floating
from tests.hints import follows
from tests.training.project import DIGITS, Project

pytestmark = pytest.mark.tf

FUNCTIONS = """
import tensorflow as tf

def loss(predictions, targets):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, predictions))

def count(predictions, targets):
    return len(predictions)

def fails(predictions, targets):
    return predictions.nothing

def other_shape(predictions, targets):
    labels = tf.cast(targets, tf.float32)
    return tf.reduce_mean(tf.square(predictions - tf.reshape(labels, tf.shape(predictions))))

def logarithm(predictions, targets):
    return tf.reduce_mean(tf.math.log(-tf.square(predictions) - 1.0))

def network(images, classes, *, training, rows=None):
    images = images[:rows]
    weights = tf.compat.v1.get_variable("weights", [64, 10])
    return tf.matmul(tf.reshape(images, [-1, 64]), weights)

def halves(images, classes, *, training):
    weights = tf.compat.v1.get_variable("weights", [32, 10])
    return tf.matmul(tf.reshape(images, [-1, 32]), weights)
"""


@pytest.fixture
def called(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of 30 training images, whose network, loss and metric are the user's."""
    (tmp_path / "own_code.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    publish(project, validation=8)
    metrics = {"own": {"call": "own_code:count", "better": "higher"}}
    project.settings["outputs"] = {"labels": {"task": "call", "loss": "own_code:loss", "metrics": metrics}}
    project.settings["model"] = {"call": "own_code:network", "options": {}}
    return project


def publish(project: Project, validation: int) -> None:
    images, labels = np.zeros((40, 8, 8, 1), np.uint8), np.arange(40, dtype=np.int32) % 10
    rows = {"train": np.arange(30), "validation": np.arange(validation), "test": np.arange(30, 40)}
    splits: dict[str, dict[str, Any]]
    splits = {split: {"images": images[index], "labels": labels[index]} for split, index in rows.items()}
    project.dataset(splits, {"labels": DIGITS})


@pytest.mark.parametrize(
    ("loss", "parts"),
    [
        ("other_shape", ["own_code.py:", "tf.reshape(labels, tf.shape(predictions))", "320"]),
        ("logarithm", ["before the first step", follows("a logarithm or a root of 0 or less")]),
        ("loss", []),
    ],
)
def test_a_loss_that_fails_in_its_first_step_is_named(called: Project, loss: str, parts: list[str]) -> None:
    called.settings["outputs"]["labels"]["loss"] = f"own_code:{loss}"
    text = ""
    try:
        called.run(floating.run, "dataset")
    except StageError as error:
        text = error.block()
    assert [part for part in parts if part not in text] == []
    assert bool(text) == bool(parts)


@pytest.mark.parametrize("validation", [8, 0])
def test_a_metric_that_fails_does_so_before_the_training(called: Project, validation: int) -> None:
    publish(called, validation)
    called.settings["outputs"]["labels"]["metrics"]["own"]["call"] = "own_code:fails"
    with pytest.raises(StageError, match="has no attribute 'nothing'"):
        called.run(floating.run, "dataset")
    assert not list((called.root / "work/float").rglob("model.ckpt-*"))


def test_an_input_takes_the_array_of_its_name_and_bytes_take_bytes(project: Project) -> None:
    def read() -> str:
        try:
            ends.inputs_of(project.request("float", "dataset"))
        except StageError as error:
            return error.hint
        return ""

    scaling = {"mean": 128.0, "std_dev": 64.0}
    rows = {"images": np.zeros((4, 3), np.float32), "sound": np.zeros((4, 2), np.float32)}
    project.dataset(dict.fromkeys(("train", "validation", "test"), rows), {})
    project.settings["inputs"] = {"sounds": {"real": True}, "images": scaling}
    hint = follows("Name the input after one of the dataset's arrays ({}), or save its array as train_{}.")
    assert read() == hint.format("images, sound", "sounds")
    project.settings["inputs"] = {"sound": {"real": True}, "images": scaling}
    hint = follows('Write "inputs": {"{}": {"real": true}}; or store the array as bytes, uint8.')
    assert read() == hint.replace("{}", "images")
    project.settings["inputs"]["images"] = {"real": True}
    assert read() == ""


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        ({"call": "own_code:network", "options": {"rows": 1}}, "1 rows"),
        ({"call": "own_code:halves", "options": {}}, "2018 rows"),
    ],
)
def test_a_network_that_returns_another_number_of_rows_is_refused_by_the_check(
    called: Project, model: dict[str, Any], rows: str
) -> None:
    called.settings["quantize"]["mode"] = "integer"
    called.run(check.run, "dataset")
    called.settings["model"] = model
    with pytest.raises(StageError, match="one result for each example") as refused:
        called.run(check.run, "dataset")
    facts = dict(refused.value.facts)
    assert (facts["network"], facts["output"], facts["it returns"]) == (model["call"], "labels", rows)
    assert refused.value.hint.startswith(follows("Keep the first dimension, the batch, of every tensor"))
