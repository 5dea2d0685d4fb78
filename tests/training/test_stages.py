"""The stages float, quantize, export and freeze, one after the other on a small project."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError, StageError
from qatbuild.worker.stages import check, export, freeze, quantize
from qatbuild.worker.stages import float as floating
from qatbuild.worker.tasks.classification import Classification
from tests.hints import follows
from tests.training.project import DIGITS, Project, held_out
from tests.training.reading import CHECKPOINT_FILES, tensors

pytestmark = pytest.mark.tf


def _graph(path: Path) -> tf.compat.v1.GraphDef:
    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(path.read_bytes())
    return definition


def _run(path: Path, images: np.ndarray) -> np.ndarray:
    """Probabilities that a frozen graph gives real-valued images."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(_graph(path), name="")
        return session.run("DigitsNet/Predictions/Softmax:0", {"input:0": images})


def _train(project: Project) -> None:
    project.run(floating.run, "dataset")
    project.run(quantize.run, "dataset", "float")


def test_float_then_quantize_then_export_then_freeze(project: Project, digits: tuple[np.ndarray, np.ndarray]) -> None:
    trained = project.run(floating.run, "dataset")
    assert trained.facts["steps"] == [20, 40]
    assert trained.facts["last"] == 40
    assert trained.facts["metric"] == "top1"
    assert set(trained.facts["validation"]) == {"20", "40"}
    assert trained.facts["best"] in (20, 40)
    assert trained.facts["curve"]["step"] == list(range(1, 41))
    assert len(trained.facts["curve"]["loss"]) == len(trained.facts["curve"]["learning_rate"]) == 40
    assert set(trained.files) == {f"model.ckpt-{step}{end}" for step in (20, 40) for end in CHECKPOINT_FILES}
    assert list((trained.folder / "events").iterdir())

    quantized = project.run(quantize.run, "dataset", "float")
    assert quantized.facts["steps"] == [3, 6]
    assert quantized.facts["curve"]["step"] == [1, 2, 3, 4, 5, 6]
    assert quantized.facts["fake_quants"] == len(quantized.facts["ranges"]) == 10
    low, high = quantized.facts["ranges"]["DigitsNet/conv1/act_quant"]
    assert low == 0 < high
    report = json.loads(quantized.file("rewrite.json").read_text())
    assert len(report["quantized"]) == 10
    assert not report["left_float"]

    exported = project.run(export.run, "dataset", "check")
    assert exported.facts == {
        "inputs": {"images": "input"},
        "outputs": {"labels": "DigitsNet/Predictions/Softmax"},
        "float_layers": [],
    }

    frozen = project.run(freeze.run, "export", "quantize", "float")
    assert frozen.facts["checkpoint_step"] == 6
    assert frozen.facts["float_checkpoint_step"] == 40
    images, labels = digits
    real = (images[360:660].astype(np.float32) - 128) / 64
    for name, fake_quants in (("frozen_graph.pb", 10), ("float_graph.pb", 0)):
        kinds = [node.op for node in _graph(frozen.file(name)).node]
        assert not {"VarHandleOp", "VariableV2", "ReadVariableOp", "Identity", "Mul"} & set(kinds)
        assert kinds.count("FakeQuantWithMinMaxVars") == fake_quants
        top1 = (_run(frozen.file(name), real).argmax(axis=1) == labels[360:660]).mean()
        assert top1 > 0.6, "40 steps are enough to see that these are the trained weights"


def test_equal_requests_leave_equal_bytes(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    manifests = []
    for name in ("one", "other"):
        project = Project(tmp_path / name, images[:360], labels[:360], 100)
        _train(project)
        project.run(export.run, "dataset", "check")
        project.run(freeze.run, "export", "quantize", "float")
        manifests.append([(tmp_path / name / "work" / stage / f"out/{stage}.manifest.json").read_bytes()
                          for stage in ("float", "quantize", "export", "freeze")])  # fmt: skip
    assert manifests[0] == manifests[1]


def test_quantized_training_starts_from_the_float_weights_with_a_fresh_optimizer_and_step(project: Project) -> None:
    project.settings["quantize"] = {**project.settings["quantize"], "steps": 1}
    project.settings["quantize"]["learning_rate"] = {**project.settings["train"]["learning_rate"], "initial": 1e-30}
    _train(project)
    before = tensors(project.root / "work/float/out/model.ckpt-40")
    after = tensors(project.root / "work/quantize/out/model.ckpt-1")
    names = [name for name in before if name != "global_step"]
    assert {name: after[name] for name in names} == {name: before[name] for name in names}


def test_from_scratch_needs_no_float_stage_and_takes_the_steps_of_train(project: Project) -> None:
    project.settings["quantize"] = {**project.settings["quantize"], "start": "scratch", "quant_delay": 20}
    quantized = project.run(quantize.run, "dataset")
    assert quantized.facts["steps"] == [20, 40]
    assert not any("fake_quantization_step" in name for name in tensors(quantized.folder / "model.ckpt-40"))
    project.run(export.run, "dataset", "check")
    frozen = project.run(freeze.run, "export", "quantize")
    assert frozen.facts["checkpoint_step"] == frozen.facts["float_checkpoint_step"] == 40


def test_check_counts_the_operations_and_publishes_the_network(project: Project) -> None:
    checked = project.run(check.run, "dataset")
    assert [*checked.files] == ["network.meta"]
    assert checked.facts["operations"]["Conv2D"] == 2


def test_network_with_lrn_is_refused_at_once_with_a_hint(project: Project) -> None:
    images, labels = np.zeros((20, 32, 32, 3), np.uint8), np.arange(20, dtype=np.int32) % 10
    project.dataset(held_out(images, labels, 0), {"labels": DIGITS})
    project.settings["model"] = {"name": "cifarnet", "options": {"lrn": True}}
    with pytest.raises(RewriteError) as refused:
        project.run(check.run, "dataset")
    assert [name for name, _ in refused.value.facts] == ["norm1", "norm2"]
    assert all(why.startswith("LRN") for _, why in refused.value.facts)
    assert follows('"lrn": false') in refused.value.hint
    project.settings["model"] = {"name": "cifarnet", "options": {"lrn": False}}
    assert project.run(check.run, "dataset")


def test_weights_of_a_checkpoint_are_published_as_they_are_with_0_steps(project: Project) -> None:
    trained = project.run(floating.run, "dataset")
    project.settings["train"] = {**project.settings["train"], "steps": 0}
    (project.root / "work/float").rename(project.root / "elsewhere")
    prefix = project.root / "elsewhere/out/model.ckpt-40"
    published = project.run(floating.run, "dataset", weights=prefix.with_name("model.ckpt-40.index"))
    assert published.facts["steps"] == [0]
    assert "curve" not in published.facts
    assert published.facts["validation"]["0"] == trained.facts["validation"]["40"]
    before, after = tensors(prefix), tensors(published.folder / "model.ckpt-0")
    assert {**before, "global_step": b""} == {**after, "global_step": b""}


def test_keras_file_is_where_the_training_starts_from(project: Project, tmp_path: Path) -> None:
    layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential(layers, name="mine")
    model.save(tmp_path / "mine.keras")
    project.settings["model"] = {"keras": "mine.keras", "options": {}}
    project.settings["train"] = {**project.settings["train"], "steps": 0}
    published = project.run(floating.run, "dataset", network=tmp_path / "mine.keras")
    published_tensors = tensors(published.folder / "model.ckpt-0")
    assert published_tensors.pop("global_step")
    assert published_tensors == {
        f"mine/{layer.name}/{each.name}": each.numpy().tobytes()
        for layer in model.layers
        for each in layer.variables
        if "seed" not in each.name
    }
    project.settings["train"] = {**project.settings["train"], "steps": 4}
    trained = project.run(floating.run, "dataset", network=tmp_path / "mine.keras")
    moved = tensors(trained.folder / "model.ckpt-4")
    assert all(moved[name] != value for name, value in published_tensors.items())


def test_weights_that_lack_variables_of_the_network_are_refused_by_name(project: Project, tmp_path: Path) -> None:
    project.run(floating.run, "dataset")
    (project.root / "work/float").rename(project.root / "elsewhere")
    (tmp_path / "othernet.py").write_text(
        "from qatbuild.worker.models import layers\n"
        "def network(images, classes, *, training):\n"
        "    return layers.dense(layers.flatten(images), classes, scope='only', activation=None)\n"
    )
    project.settings["model"] = {"call": "othernet:network", "options": {}}
    with pytest.raises(StageError) as refused:
        project.run(floating.run, "dataset", weights=project.root / "elsewhere/out/model.ckpt-40.index")
    facts = dict(refused.value.facts)
    assert facts["missing"].split() == ["only/weights", "only/biases"]
    assert "DigitsNet/conv1/weights" in facts["it has beside"]
    assert follows("The checkpoint belongs to another network, or to other options") in refused.value.hint
    project.settings["model"] = {"name": "digitsnet", "options": {}}
    project.settings["train"] = {**project.settings["train"], "steps": 0}
    assert project.run(floating.run, "dataset", weights=project.root / "elsewhere/out/model.ckpt-40.index")


def test_weights_that_are_not_there_are_refused(project: Project) -> None:
    with pytest.raises(StageError, match="no such checkpoint") as refused:
        project.run(floating.run, "dataset", weights=project.root / "nowhere.ckpt-1.index")
    assert follows("model.weights is the path before .index of a TensorFlow checkpoint") in refused.value.hint


def test_tensor_without_a_range_is_named(project: Project, tmp_path: Path) -> None:
    (tmp_path / "deadnet.py").write_text(
        "import tensorflow as tf\n"
        "from qatbuild.worker.models import layers\n"
        "def network(images, classes, *, training):\n"
        "    zeros = lambda shape, dtype=tf.float32, **_: tf.zeros(shape, dtype)\n"
        "    with tf.compat.v1.variable_scope('Dead'):\n"
        "        net = layers.conv(images, 2, 3, scope='silent', weights=zeros)\n"
        "        return layers.dense(layers.flatten(net), classes, scope='logits', activation=None)\n"
    )
    project.settings["model"] = {"call": "deadnet:network", "options": {}}
    project.settings["train"] = {**project.settings["train"], "steps": 2, "weight_decay": 0.0}
    project.settings["quantize"] = {**project.settings["quantize"], "start": "scratch"}
    with pytest.raises(StageError, match="no range") as refused:
        project.run(quantize.run, "dataset")
    assert {"Dead/silent/act_quant", "Dead/silent/weights_quant"} <= {name for name, _ in refused.value.facts}
    assert (
        follows("Such a layer only gives zeros: lower the learning rate, or look at its weights") in refused.value.hint
    )
    (tmp_path / "livenet.py").write_text((tmp_path / "deadnet.py").read_text().replace(", weights=zeros", ""))
    project.settings["model"] = {"call": "livenet:network", "options": {}}
    (project.root / "work/quantize").rename(project.root / "former")  # Another request has a folder of its own.
    assert project.run(quantize.run, "dataset")


def test_step_without_checkpoint_lists_those_that_exist(project: Project) -> None:
    _train(project)
    project.run(export.run, "dataset", "check")
    project.settings["convert"] = {"checkpoint": 4}
    with pytest.raises(StageError) as refused:
        project.run(freeze.run, "export", "quantize", "float")
    assert dict(refused.value.facts) == {"convert.checkpoint": "4", "there are": "3, 6"}
    project.settings["convert"] = {"checkpoint": 3}
    assert project.run(freeze.run, "export", "quantize", "float").facts["checkpoint_step"] == 3


def test_best_needs_validation_images(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    project = Project(tmp_path, images[:200], labels[:200], 0)
    project.settings["train"] = {**project.settings["train"], "steps": 4}
    _train(project)
    project.run(export.run, "dataset", "check")
    project.settings["convert"] = {"checkpoint": "best"}
    with pytest.raises(StageError, match="no validation examples") as refused:
        project.run(freeze.run, "export", "quantize", "float")
    assert (
        follows('Give dataset.validation a share of the training examples, or write "checkpoint"') in refused.value.hint
    )
    project.settings["convert"] = {"checkpoint": "last"}
    assert project.run(freeze.run, "export", "quantize", "float")


def test_freezing_lists_what_a_checkpoint_lacks(project: Project) -> None:
    trained = project.run(floating.run, "dataset")
    facts = {**trained.facts, "fake_quants": 0, "ranges": {}, "warnings": []}
    project.publish("quantize", trained.folder, facts)
    project.run(export.run, "dataset", "check")
    with pytest.raises(StageError) as refused:
        project.run(freeze.run, "export", "quantize", "float")
    assert "DigitsNet/conv1/act_quant/max" in dict(refused.value.facts)["missing"].split()


def test_inference_graph_has_no_weights_no_dropout_and_no_initial_values(project: Project) -> None:
    exported = project.run(export.run, "dataset", "check")
    for name in ("inference_graph.pb", "float_inference_graph.pb"):
        definition = _graph(exported.file(name))
        placeholder = next(node for node in definition.node if node.op == "Placeholder")
        assert placeholder.name == "input"
        assert [size.size for size in placeholder.attr["shape"].shape.dim] == [-1, 8, 8, 1]
        assert not any("dropout" in node.name or "Random" in node.op or "Assign" in node.op for node in definition.node)
        assert len(definition.SerializeToString()) < 20_000


def test_layers_that_overrides_keep_in_float_are_named_for_the_conversion(project: Project) -> None:
    overrides = [{"layer": "conv1", "range": None, "bits": None, "float": True}]
    project.settings["quantize"] = {**project.settings["quantize"], "mode": "integer", "overrides": overrides}
    assert "conv1" in project.run(export.run, "dataset", "check").facts["float_layers"]


def test_augmentation_is_refused_where_a_target_cannot_move_with_its_image(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classification, "moving_targets", None)  # as of a detection, whose boxes are no pixels
    project.settings["train"] = {**project.settings["train"], "steps": 0}
    with pytest.raises(StageError, match="cannot move with its images") as refused:
        project.run(floating.run, "dataset")
    assert dict(refused.value.facts) == {"output": "labels", "augment": "pad_crop"}
    assert follows('Leave "augment" out of this spec.') in refused.value.hint
    project.settings["augment"] = {}
    assert project.run(floating.run, "dataset")
