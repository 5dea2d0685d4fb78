"""`doit cure` finds a change of the spec with which a broken network passes, and a killed search goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from qatbuild.schema.load import patched
from tests.diagnosis.networks import BROKEN, SPEC
from tests.e2e.conftest import REPOSITORY, Project

pytestmark = pytest.mark.tf

KILLED = "flashes"
"""A network whose first patch is not enough."""


@pytest.fixture(scope="module")
def killed(broken: Project) -> str:
    """The label of the trial after which the search was killed."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "doit", "cure", KILLED]
    label = ""
    with subprocess.Popen(
        command, cwd=broken.root, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(".  cure/"):
                label = line.split()[1].partition(":")[0]
            if line.startswith("1. "):
                process.send_signal(signal.SIGKILL)
                break
    return label


@pytest.fixture(scope="module")
def searches(broken: Project, killed: str) -> tuple[dict[str, Any], str]:
    """The result of each search by label, and what the command said on the way."""
    del killed
    done = broken.doit("cure", *BROKEN, "--format", "json")
    results = {each["label"]: each for each in json.loads(done.stdout)}
    assert done.returncode == (0 if all(each["passed"] for each in results.values()) else 1)
    return results, done.stderr


@pytest.mark.parametrize("name", [name for name, each in BROKEN.items() if each.curable])
def test_a_change_of_the_spec_brings_the_network_through_its_gates(
    broken: Project, searches: tuple[dict[str, Any], str], name: str
) -> None:
    result = searches[0][name]
    assert result["passed"], result["tried"]
    assert all(gate["passed"] for gate in result["tried"][-1]["gates"])
    spec = json.loads((broken.root / f"specs/{name}.json").read_text())
    assert patched(spec, result["patch"]) != spec


def test_what_only_another_network_helps_is_said_after_few_attempts(searches: tuple[dict[str, Any], str]) -> None:
    (name,) = (name for name, each in BROKEN.items() if not each.curable)
    result, said = searches[0][name], searches[1]
    assert (result["passed"], result["patch"]) == (False, None)
    assert [each["cost"] for each in result["tried"]] == ["float layer"]
    assert result["untried"] == 0
    assert result["limit"].startswith(
        "value: a tensor has one scale, whatever the spec says. Bring its parts to one unit"
    )
    assert f"No field of the spec mends it, after 1 attempt. {result['limit']}\n" in said


def test_every_override_that_is_tried_names_a_layer(searches: tuple[dict[str, Any], str]) -> None:
    tried = [each for result in searches[0].values() for each in result["tried"]]
    errors = [each["error"] for each in tried if each["patch"].get("quantize", {}).get("overrides")]
    assert errors
    assert not any("matches no layer" in error for error in errors)


def test_cheap_changes_are_tried_before_trainings(searches: tuple[dict[str, Any], str]) -> None:
    order = ["calibration", "short training", "long training", "float layer"]
    for result in searches[0].values():
        costs = [order.index(each["cost"]) for each in result["tried"]]
        assert costs == sorted(costs)


def test_a_float_network_that_is_too_weak_for_the_gates_is_trained_longer_at_once(
    broken: Project, searches: tuple[dict[str, Any], str]
) -> None:
    assert broken.report("unsettled")["metrics"]["top1"]["float"] < SPEC["evaluate"]["min_top1"]
    (only,) = searches[0]["unsettled"]["tried"]
    assert only["patch"] == {"train": {"steps": 5 * BROKEN["unsettled"].fields["train"]["steps"]}}


def test_a_killed_search_goes_on_where_it_was(killed: str, searches: tuple[dict[str, Any], str]) -> None:
    results, said = searches
    tried = [each["label"] for each in results[KILLED]["tried"]]
    assert tried.index(killed) == 0
    assert f"{killed}:" not in said
    assert f"{tried[1]}:evaluate" in said


def test_the_patch_in_the_spec_builds_the_model_that_was_found(
    broken: Project, searches: tuple[dict[str, Any], str]
) -> None:
    patch = searches[0]["heavy"]["patch"]
    spec = json.loads((broken.root / "specs/heavy.json").read_text())
    (broken.root / "specs/mended.json").write_text(json.dumps({**patched(spec, patch)}))
    text = broken.build("mended")
    (broken.root / "specs/mended.json").unlink()
    assert "mended:evaluate" in text
    assert "6 of 6 passed" in text


def test_a_sound_network_needs_no_patch(broken: Project) -> None:
    assert "sound passes its gates as it is." in broken.build("cure", "sound")


def test_other_commands_know_nothing_of_the_trials(broken: Project, searches: tuple[dict[str, Any], str]) -> None:
    del searches
    labels = {line.split()[0] for line in broken.build("list").splitlines()} - {"shared"}
    assert labels == {*BROKEN, "sound"}
    assert "cure/" not in (broken.root / "build/report.html").read_text()
    assert "build/cure" in broken.build("gc", "--dry-run", "--age", "0")
