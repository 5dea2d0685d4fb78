"""The documentation's examples of all tasks, specs/tasks, built by one doit call for a few steps each.

In full they take minutes each; so few steps teach nothing, and the gates of the specs are left out.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from qatbuild.worker.tflite import inspect
from tests.e2e.conftest import REPOSITORY, Project, new_project

pytestmark = pytest.mark.slow

SPECS = {path.stem: json.loads(path.read_text()) for path in sorted((REPOSITORY / "specs/tasks").glob("*.json"))}
TASKS = {"classification", "multilabel", "regression", "reconstruction", "segmentation", "detection", "call"}
INTEGERS = {"int8", "uint8", "int32"}


def shortened(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The spec for a few steps, of which nothing is wanted but that its metrics are measured."""
    few = {"calibration": {"images": 32}} if spec["quantize"].get("method") == "ptq" else {"steps": 3}
    gates = {metric: {"min": None, "max": None, "max_drop": 1e6} for metric in spec["evaluate"]["gates"]}
    options = {"options": {"examples": 200}} if spec["dataset"]["call"].endswith(":scenes") else {}
    return {
        "extends": f"{name}.json",
        "dataset": options,
        "train": {"steps": 4, "batch_size": 16},
        "quantize": few,
        "evaluate": {"gates": gates, "latency_runs": 1},
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = new_project(tmp_path_factory.mktemp("tasks") / "project")
    shutil.copytree(
        REPOSITORY / "specs/tasks", project.root / "specs/tasks", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, spec in SPECS.items():
        (project.root / f"specs/tasks/short-{name}.json").write_text(json.dumps(shortened(name, spec)))
    project.build("-n", "2", *(f"tasks/short-{name}" for name in SPECS))
    return project


def test_there_is_a_spec_for_each_task() -> None:
    used = [
        output["task"]
        for spec in SPECS.values()
        for output in spec.get("outputs", {"": {"task": "classification"}}).values()
    ]
    assert set(used) == TASKS


@pytest.mark.parametrize("name", SPECS)
def test_the_metrics_that_its_gates_name_are_measured(project: Project, name: str) -> None:
    report = project.report(f"tasks/short-{name}")
    wanted = SPECS[name]["evaluate"]["gates"]
    assert wanted
    for metric in wanted:
        assert all(math.isfinite(report["metrics"][metric][form]) for form in ("float", "fake_quant", "tflite"))
    assert [gate for gate in report["gates"] if not gate["passed"]] == []


@pytest.mark.parametrize("name", SPECS)
def test_its_model_is_integer_from_end_to_end(project: Project, name: str) -> None:
    model = inspect.read(Path(project.root / f"build/tasks/short-{name}/model.tflite"))
    assert {tensor.dtype for tensor in model.tensors} <= INTEGERS
    report = project.report(f"tasks/short-{name}")
    ends = [*report["inputs"].values(), *report["outputs"].values()]
    assert {end["dtype"] for end in ends} == {SPECS[name]["quantize"]["scheme"].removesuffix("_per_channel")}
