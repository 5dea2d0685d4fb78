"""A network with two inputs and two outputs through every stage, from an npz with named arrays to report.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.worker.models import layers
from qatbuild.worker.stages import check, convert, dataset, evaluate, export, freeze, quantize
from qatbuild.worker.stages import float as floating
from qatbuild.worker.training.batches import Batch, Batches
from tests.training.project import RATE, Project
from tests.training.reading import tensors

pytestmark = pytest.mark.tf

CLASSES = ("left", "right", "both")
INPUTS = {"picture": {"mean": 127.5, "std_dev": 127.5}, "weather": {"real": True, "range": None}}
OUTPUTS = {"side": {"task": "classification"}, "height": {"task": "regression", "weight": 0.5}}
METHODS: dict[str, dict[str, Any]] = {
    "qat": {"method": "qat", "steps": 6, "checkpoint_every": 3, "learning_rate": {**RATE, "initial": 0.01}},
    "ptq": {"method": "ptq", "calibration": {"images": None, "range": "min_max", "percentile": None}},
}
GATES = {"max_accuracy_drop": 100.0, "min_top1": None, "min_agreement": None, "latency_runs": 1}


def network(inputs: Mapping[str, tf.Tensor], sizes: Mapping[str, int], *, training: bool) -> dict[str, tf.Tensor]:  # noqa: ARG001
    """A trunk of both inputs, and a head of each output."""
    seen = layers.flatten(layers.conv(inputs["picture"], 4, 3, stride=2, scope="Net/conv"), scope="Net/flat")
    felt = layers.dense(inputs["weather"], 8, scope="Net/weather")
    trunk = layers.dense(tf.concat([seen, felt], axis=1, name="Net/joined"), 12, scope="Net/trunk")
    return {name: layers.dense(trunk, size, scope=f"Net/{name}", activation=None) for name, size in sizes.items()}


def write_arrays(path: Path) -> None:
    """Pictures whose bright half is the side, and a height that is a sum of reals."""
    random = np.random.default_rng(4)
    arrays: dict[str, Any] = {"side_names": np.array(CLASSES)}
    for split, count in (("train", 96), ("validation", 16), ("test", 24)):
        side = (np.arange(count) % 3).astype(np.int32)
        bright = np.array([[1, 0], [0, 1], [1, 1]])[side].repeat(4, axis=1)[:, None, :, None]
        noise = random.integers(0, 80, (count, 8, 8, 1))
        weather = random.normal(0, 2, (count, 3)).astype(np.float32)
        arrays[f"{split}_picture"] = (noise + 150 * bright).astype(np.uint8)
        arrays[f"{split}_weather"] = weather
        arrays[f"{split}_side"] = side
        arrays[f"{split}_height"] = weather.sum(axis=1, keepdims=True)
    np.savez(path, **arrays)


def made(root: Path, method: str) -> Project:
    """A project with the dataset and the float network of this file."""
    project = Project(root, np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int32), 0)
    write_arrays(root / "arrays.npz")
    project.settings |= {
        "label": "two",
        "dataset": {"name": "npz", "validation": 0.1},
        "inputs": INPUTS,
        "outputs": OUTPUTS,
        "augment": {"pad_crop": 0, "flip_left_right": False},
        "model": {"call": f"{__name__}:network", "options": {}},
        "train": {
            **project.settings["train"],
            "steps": 30,
            "checkpoint_every": 15,
            "learning_rate": {**RATE, "initial": 0.02},
        },
        "quantize": {**project.settings["quantize"], "mode": "integer", "scheme": "int8", **METHODS[method]},
        "evaluate": {**GATES, "gates": {"height.mae": {"max": 100.0, "max_drop": 1.0}, "side.top1": {"min": 1.0}}},
    }
    project.run(dataset.run, data=root / "arrays.npz")
    project.run(check.run, "dataset")
    project.run(floating.run, "dataset")
    return project


@pytest.mark.parametrize("method", METHODS)
def test_two_inputs_and_two_outputs_are_built_and_measured_by_name(method: str, tmp_path: Path) -> None:
    project = made(tmp_path, method)
    project.run(quantize.run, "dataset", "check", "float")
    exported = project.run(export.run, "dataset", "check").facts
    assert exported["inputs"] == {"picture": "input_picture", "weather": "input_weather"}
    project.run(freeze.run, "export", "quantize", "float")
    project.run(convert.run, "export", "freeze")
    evaluated = project.run(evaluate.run, "dataset", "freeze", "convert")
    report = json.loads(evaluated.file("report.json").read_text())
    assert list(report["metrics"]) == ["side.top1", "height.mae", "height.rmse", "height.r2"]
    assert {"input", "output", "scaling", "top1"}.isdisjoint(report)
    assert set(report["agreements"]) == set(report["outputs"]) == {"side", "height"}
    assert set(report["inputs"]) == set(report["scalings"]) == {"picture", "weather"}
    picture, weather = (report["inputs"][name] for name in INPUTS)
    assert (picture["zero_point"], picture["shape"]) == (0, [1, 8, 8, 1])
    assert picture["scale"] == pytest.approx(1 / 127.5)
    assert weather["shape"] == [1, 3]
    measured = np.ptp(np.load(tmp_path / "work/dataset/out/train/weather.npy"))
    assert weather["scale"] == pytest.approx(measured / 255, rel=1e-5 if method == "ptq" else 0.5)
    assert report["outputs"]["side"]["scale"] == 1 / 256
    assert report["agreements"]["height"]["top1_percent"] is None
    assert report["agreement"]["top1_percent"] == report["agreements"]["side"]["top1_percent"] >= 90
    assert report["agreement"]["max_lsb"] == max(each["max_lsb"] for each in report["agreements"].values()) <= 6
    height = report["metrics"]["height.mae"]
    assert (height["better"], height["percent"]) == ("lower", False)
    assert abs(height["tflite"] - height["float"]) < 0.2 * height["float"]
    gates = [gate["name"] for gate in report["gates"]]
    assert gates == [
        "fully integer", "loads", "input picture", "input weather", *(f"output {name}" for name in report["outputs"]),
        "side.top1 max_drop", "height.mae max", "height.mae max_drop", "side.top1 min",
    ]  # fmt: skip
    assert all(gate["passed"] for gate in report["gates"])


def test_a_killed_training_of_several_ends_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = made(tmp_path, "qat")
    whole = project.run(quantize.run, "dataset", "check", "float")
    expected = [tensors(whole.folder / f"model.ckpt-{step}") for step in (3, 6)]
    (tmp_path / "work/quantize").rename(tmp_path / "whole")
    usual = Batches.__call__

    def killed(batches: Batches, step: int) -> Batch:
        if step == 4:
            raise RuntimeError("killed")
        return usual(batches, step)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__call__", killed)
        with pytest.raises(RuntimeError, match="killed"):
            project.run(quantize.run, "dataset", "check", "float")
    resumed = project.run(quantize.run, "dataset", "check", "float")
    assert [tensors(resumed.folder / f"model.ckpt-{step}") for step in (3, 6)] == expected
    assert resumed.facts == whole.facts
    assert resumed.facts["metric"] == "side.top1"
