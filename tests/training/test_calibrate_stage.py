"""The quantize stage by the method ptq, and the warnings of both methods about too few images or steps."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.worker.stages import export, freeze, quantize
from qatbuild.worker.stages import float as floating
from qatbuild.worker.training import checkpoint
from tests.hints import follows
from tests.training.project import DIGITS, Project, held_out
from tests.training.reading import CHECKPOINT_FILES, tensors

pytestmark = pytest.mark.tf

PTQ = {"mode": "integer", "method": "ptq", "scheme": "uint8", "overrides": []}


def calibration(images: int | None = 128, method: str = "min_max", percentile: float | None = None) -> dict[str, Any]:
    return {**PTQ, "calibration": {"images": images, "range": method, "percentile": percentile}}


@pytest.fixture
def trained(project: Project) -> Project:
    """A project with its float network trained and published."""
    project.run(floating.run, "dataset")
    return project


def test_calibration_publishes_a_checkpoint_of_step_0(trained: Project) -> None:
    trained.settings["quantize"] = calibration()
    made = trained.run(quantize.run, "dataset", "check", "float")
    assert made.facts["steps"] == [0]
    assert (made.facts["last"], made.facts["best"]) == (0, 0)
    assert made.facts["metric"] == "top1"
    assert set(made.facts["validation"]) == {"0"}
    assert set(made.files) == {"rewrite.json", *(f"model.ckpt-0{end}" for end in CHECKPOINT_FILES)}
    assert made.facts["fake_quants"] == len(json.loads(made.file("rewrite.json").read_text())["quantized"])
    assert made.facts["ranges"]["DigitsNet/conv1/act_quant"][0] == 0
    assert made.facts["warnings"] == []
    assert "curve" not in made.facts
    trained.run(export.run, "dataset", "check")
    assert trained.run(freeze.run, "export", "quantize", "float").facts["checkpoint_step"] == 0


def test_weights_are_the_float_network_s_to_the_last_bit(trained: Project) -> None:
    trained.settings["quantize"] = calibration()
    made = trained.run(quantize.run, "dataset", "check", "float")
    before, after = tensors(trained.root / "work/float/out/model.ckpt-40"), tensors(made.folder / "model.ckpt-0")
    names = [name for name in before if name != "global_step"]
    assert {name: after[name] for name in names} == {name: before[name] for name in names}


def test_equal_calibrations_leave_equal_bytes_and_the_seed_chooses_the_images(trained: Project) -> None:
    trained.settings["quantize"] = calibration(16)
    results = []
    for seed in (1, 1, 2):
        trained.settings["train"] = {"seed": seed}
        made = trained.run(quantize.run, "dataset", "check", "float")
        results.append((made.facts, made.file("model.ckpt-0.data-00000-of-00001").read_bytes()))
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_only_training_images_are_looked_at(trained: Project, digits: tuple[np.ndarray, np.ndarray]) -> None:
    trained.settings["quantize"] = calibration(260)
    first = trained.run(quantize.run, "dataset", "check", "float").facts["ranges"]
    splits = held_out(digits[0][:360], digits[1][:360], 100)
    blank = {name: np.zeros_like(each) for name, each in splits["validation"].items()}
    trained.dataset({**splits, "validation": blank, "test": blank}, {"labels": DIGITS})
    assert trained.run(quantize.run, "dataset", "check", "float").facts["ranges"] == first


@pytest.mark.parametrize("settings", [calibration(64, "moving_average"), calibration(64, "percentile", 99.0)])
def test_other_methods_give_narrower_ranges(trained: Project, settings: dict[str, Any]) -> None:
    highs = []
    for each in (calibration(64), settings):
        trained.settings["quantize"] = each
        highs.append(
            trained.run(quantize.run, "dataset", "check", "float").facts["ranges"]["DigitsNet/conv1/act_quant"][1]
        )
    assert 0 < highs[1] < highs[0]


def test_ranges_per_channel_are_lists(trained: Project) -> None:
    trained.settings["quantize"] = {**calibration(64), "scheme": "int8_per_channel"}
    made = trained.run(quantize.run, "dataset", "check", "float")
    low, high = made.facts["ranges"]["DigitsNet/conv1/weights_quant"]
    assert len(low) == len(high) > 1
    assert low == [-end for end in high]
    assert checkpoint.values(made.folder / "model.ckpt-0", {"DigitsNet/conv1/weights_quant/max": [len(high)]})


def test_more_images_than_the_dataset_has_are_refused(trained: Project) -> None:
    trained.settings["quantize"] = calibration(261)
    with pytest.raises(StageError, match="fewer training examples") as refused:
        trained.run(quantize.run, "dataset", "check", "float")
    assert dict(refused.value.facts) == {"quantize.calibration.images": "261", "training examples": "260"}
    assert follows("Lower quantize.calibration.images to ") in refused.value.hint
    for images in (260, None):
        trained.settings["quantize"] = calibration(images)
        assert trained.run(quantize.run, "dataset", "check", "float")


def test_without_a_number_all_images_of_a_small_dataset_are_taken(
    trained: Project, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    results = []
    for images in (None, 260):
        trained.settings["quantize"] = calibration(images)
        results.append(trained.run(quantize.run, "dataset", "check", "float").facts)
    assert results[0] == results[1]
    few = held_out(digits[0][:60], digits[1][:60], 30)
    trained.dataset(few, {"labels": DIGITS})
    trained.settings["quantize"] = calibration(None)
    (warning,) = trained.run(quantize.run, "dataset", "check", "float").facts["warnings"]
    assert warning == "The ranges are measured on only 30 examples: the dataset has no more for training."
    trained.dataset({**few, "train": few["test"]}, {"labels": DIGITS})
    with pytest.raises(StageError, match="no training examples"):
        trained.run(quantize.run, "dataset", "check", "float")


def test_fractional_mean_trains_and_calibrates_as_the_nearest_byte(project: Project) -> None:
    project.settings["train"] = {**project.settings["train"], "steps": 3, "checkpoint_every": 3}
    results = []
    for mean in (128.0, 127.5):
        project.settings["inputs"] = {"images": {"mean": mean, "std_dev": 64.0}}
        floats = project.run(floating.run, "dataset").file("model.ckpt-3.data-00000-of-00001").read_bytes()
        project.settings["quantize"] = calibration(40)
        results.append((floats, project.run(quantize.run, "dataset", "check", "float").facts))
    assert results[0] == results[1]


def test_few_images_or_few_batches_give_a_warning(trained: Project, capsys: pytest.CaptureFixture[str]) -> None:
    learnt = trained.run(quantize.run, "dataset", "check", "float")
    assert "only 6 batches" in learnt.facts["warnings"][0]
    trained.settings["quantize"] = calibration(20)
    assert "only 20 examples" in trained.run(quantize.run, "dataset", "check", "float").facts["warnings"][0]
    said = capsys.readouterr().out
    assert "warning: The ranges are averages over only 6 batches" in said
    assert "warning: The ranges are measured on only 20 examples" in said


def test_immediate_quantization_from_scratch_gives_a_warning_before_training(project: Project) -> None:
    project.settings["train"] = {**project.settings["train"], "steps": 20, "checkpoint_every": 20}
    for delay, warned in ((1, True), (2, False)):
        project.settings["quantize"] = {**project.settings["quantize"], "start": "scratch", "quant_delay": delay}
        warnings = project.run(quantize.run, "dataset", "check").facts["warnings"]
        assert any("never learns" in text for text in warnings) == warned


@pytest.mark.parametrize(("from_weights", "warned"), [(False, True), (True, False)])
def test_batch_norms_of_few_steps_give_a_warning_unless_their_steps_are_unknown(
    project: Project, *, from_weights: bool, warned: bool
) -> None:
    project.settings["model"] = {"name": "resnet8", "options": {}}
    project.settings["train"] = {**project.settings["train"], "steps": 1, "checkpoint_every": 1}
    project.run(floating.run, "dataset")
    folder = project.root / "work/float/out"
    facts = json.loads((project.root / "work/float/out/float.manifest.json").read_text())["facts"]
    project.publish("float", folder, {**facts, "from_weights": from_weights})
    project.settings["quantize"] = calibration(100)
    warnings = project.run(quantize.run, "dataset", "check", "float").facts["warnings"]
    assert any("only 1 steps" in text for text in warnings) == warned


def test_variable_that_is_neither_restored_nor_new_is_named() -> None:
    with tf.Graph().as_default():
        restored, new, lost = (tf.compat.v1.Variable(0.0, name=name) for name in ("restored", "new", "lost"))
        checkpoint.explain([restored, new], restored=[restored], new=[new])
        with pytest.raises(StageError, match="nor new in every training") as refused:
            checkpoint.explain([restored, new, lost], restored=[restored], new=[new])
        assert follows("A network must make all its variables in its own function") in refused.value.hint
        checkpoint.explain([restored, new, lost], restored=[restored, lost], new=[new])
    assert dict(refused.value.facts) == {"variables": "lost"}
