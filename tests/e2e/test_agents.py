"""A client that knows nothing but docs/agents.md brings three networks under a byte budget.

It takes its commands and its first spec from the page, and reads JSON; what it does is what the page's steps say.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import Any, NamedTuple

import pytest

from tests.docs.pages import BLOCKS, DOCS
from tests.e2e.conftest import Project

pytestmark = pytest.mark.slow

ROUNDS = 4
PAGE = (DOCS / "agents.md").read_text()
COMMANDS = dict(re.findall(r"^\| ([a-z ]+?) \| `doit (.+?)` \|", PAGE, re.MULTILINE))
(SPEC,) = [json.loads(block.text) for block in BLOCKS if block.page == "agents.md" and block.language == "json"]

NETWORKS = """
from __future__ import annotations

import keras


def convolutions(images, classes, *, training, filters):
    x = keras.layers.Conv2D(filters, 3, activation="relu")(images)
    x = keras.layers.Conv2D(2 * filters, 3, activation="relu")(x)
    return keras.layers.Dense(classes)(keras.layers.Flatten()(x))


def dense(images, classes, *, training, units):
    x = keras.layers.Dense(units, activation="relu")(keras.layers.Flatten()(images))
    return keras.layers.Dense(classes)(keras.layers.Dense(units, activation="relu")(x))
"""


class Client:
    """Follows the page in a project."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def run(self, purpose: str, name: str) -> subprocess.CompletedProcess[str]:
        """Runs the page's command for a purpose."""
        arguments = re.sub(r"\b(SPEC|LABEL|SECTION)\b", name, COMMANDS[purpose])
        return self.project.doit(*shlex.split(arguments))

    def read(self, purpose: str, name: str) -> Any:
        """Returns the JSON that a command prints."""
        return json.loads(self.run(purpose, name).stdout)

    def measured(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Writes a spec, validates and builds it; returns what was measured of each of its labels."""
        (self.project.root / "specs" / f"{name}.json").write_text(json.dumps(spec))
        answer = self.read("validate", name)
        assert answer["errors"] == {}
        done = self.run("build", name)
        assert done.returncode in {0, 1, 2}, done.stdout + done.stderr
        rows = {row["label"]: row for row in self.read("measure", name)["labels"]}
        assert set(answer["labels"]) <= set(rows)
        return rows

    def under(self, budget: int, name: str, spec: dict[str, Any], field: str, sizes: list[int]) -> dict[str, Any]:
        """Returns the row of the best model under a budget in bytes, which is then built as the spec itself."""
        for _ in range(ROUNDS):
            rows = self.measured(name, {**spec, "matrix": {f"model.options.{field}": sizes}} if sizes else spec)
            small = [row for row in rows.values() if row["bytes"] <= budget]
            if fitting := [row for row in small if all(gate["passed"] for gate in row["gates"])]:
                break
            if small:
                steps = 2 * spec["train"]["steps"]
                spec = {**spec, "train": {**spec["train"], "steps": steps}}
                spec["quantize"] = {**spec["quantize"], "method": "qat", "steps": steps // 5}
            else:
                sizes = [*sizes, sizes[-1] // 2]
        best = max(fitting, key=top1)
        if not sizes:
            return best
        size = int(best["label"].rpartition("-")[2])
        rows = self.measured(name, {**spec, "model": {**spec["model"], "options": {field: size}}})
        return dict(rows[name])


def top1(row: dict[str, Any]) -> float:
    return float(next(iter(row["metrics"].values()))["tflite"])


class Case(NamedTuple):
    """A network, its budget in bytes, and the option that sets its size, if it has one."""

    budget: int
    spec: dict[str, Any]
    field: str = ""
    sizes: tuple[int, ...] = ()


CASES = {
    "convolutions": Case(8_000, {"model": {"call": "networks:convolutions"}}, "filters", (16,)),
    "dense": Case(5_500, {"model": {"call": "networks:dense"}}, "units", (32,)),
    "shipped": Case(42_000, {"train": {**SPEC["train"], "steps": 60}, "evaluate": {"min_top1": 94}}),
}
"""The first two are too large at first, the third is refused by its gate after so short a training."""


def test_a_client_that_knows_only_the_page_brings_three_networks_under_a_byte_budget(project: Project) -> None:
    (project.root / "networks.py").write_text(NETWORKS)
    client = Client(project)
    for name, case in CASES.items():
        spec = {**SPEC, **case.spec}
        row = client.under(case.budget, name, spec, case.field, list(case.sizes))
        file = project.root / "build" / name / "model.tflite"
        assert file.stat().st_size == row["bytes"] <= case.budget
        assert top1(row) >= spec["evaluate"]["min_top1"]
    assert client.read("see what is stale or failed", "dense")["labels"][0]["state"] == "up to date"
    assert client.read("see what would run", "dense")["counts"].keys() == {"current"}
    assert client.read("learn a section of a spec", "quantize")["quantize"]["properties"]
    assert client.read("find the layer that hurts", "dense").keys() == {"dense"}
