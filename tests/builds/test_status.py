"""`doit status`: which models are up to date, stale, not built, refused or failed."""

from __future__ import annotations

import json
from typing import Any

from tests.builds.conftest import SPEC, ToyProject

GATE = {"name": "min_top1", "wanted": "at least 95 %", "got": "91.4 %", "passed": False}


def status(toy: ToyProject, *names: str) -> dict[str, Any]:
    """The labels of `doit status --json` by name."""
    done = toy.doit("status", "--json", *names)
    assert done.returncode == 0, done.stdout + done.stderr
    return {each["label"]: each for each in json.loads(done.stdout)["labels"]}


def states(toy: ToyProject) -> dict[str, str]:
    return {label: each["state"] for label, each in status(toy).items()}


def test_a_model_is_not_built_then_up_to_date_then_stale_for_a_reason(toy: ToyProject) -> None:
    toy.spec("more", train={**SPEC["train"], "steps": 7})
    assert states(toy) == {"more": "not built", "net": "not built"}
    assert toy.doit("status", "-q").returncode == 1
    toy.built()
    assert status(toy)["net"] == {"label": "net", "state": "up to date", "stages": []}
    assert toy.doit("status").stdout == "2 up to date\n"
    quiet = toy.doit("status", "--quiet")
    assert (quiet.returncode, quiet.stdout) == (0, "")
    toy.spec("net", train={**SPEC["train"], "steps": 200})
    assert states(toy) == {"more": "up to date", "net": "stale"}
    first = status(toy)["net"]["stages"][0]
    assert (first["stage"], first["will"]) == ("float", "run")
    assert "train.steps: 100 -> 200" in [reason["text"] for reason in first["reasons"]]
    said = toy.doit("status").stdout
    assert "net: stale\n  float       run: train.checkpoint_every: 20 -> 40; train.steps: 100 -> 200\n" in said
    assert said.endswith("1 up to date, 1 stale\n")
    assert toy.runs() == []


def test_a_part_of_a_label_has_a_status_of_its_own(toy: ToyProject) -> None:
    toy.built("net:float")
    assert status(toy, "net:float")["net"]["state"] == "up to date"
    assert status(toy, "net")["net"]["state"] == "not built"


def test_a_refused_model_is_refused_until_its_spec_changes_and_a_failed_one_names_its_error(toy: ToyProject) -> None:
    (toy.root / "report.json").write_text(json.dumps({"gates": [GATE]}))
    (toy.root / "broken.txt").write_text("evaluate refuse")
    assert toy.doit("net").returncode == 1
    assert states(toy) == {"net": "refused"}
    assert "  evaluate    REFUSED: min_top1\n" in toy.doit("status").stdout
    toy.spec("net", evaluate={"min_top1": 50})
    assert states(toy) == {"net": "stale"}
    toy.spec("net", train={**SPEC["train"], "steps": 7})
    (toy.root / "broken.txt").write_text("float fail")
    assert toy.doit("net").returncode == 1
    first, *later = status(toy)["net"]["stages"]
    assert (first["stage"], first["state"]) == ("float", "failed")
    assert first["error"].splitlines()[0] == "The toy float fails."
    assert {each["error"] for each in later} == {""}
    assert "net: failed\n  float       failed: The toy float fails." in toy.doit("status").stdout


def test_what_the_store_has_would_be_restored(toy: ToyProject) -> None:
    (toy.root / "pyproject.toml").write_text("")
    toy.built()
    toy.spec("net", evaluate={"min_top1": 50})
    toy.built()
    toy.spec("net")
    (stage,) = status(toy)["net"]["stages"]
    assert (stage["state"], stage["will"]) == ("stale", "restore")


def test_an_edited_artifact_is_stale(toy: ToyProject) -> None:
    toy.built()
    artifact = toy.root / "build/net/model.tflite"
    artifact.write_text(artifact.read_text().swapcase())
    assert status(toy)["net"]["stages"][0]["reasons"][0]["text"] == "model.tflite: edited"


def test_a_spec_with_faults_is_named_and_the_others_have_their_status(toy: ToyProject) -> None:
    toy.spec("other", trian={})
    done = toy.doit("status", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["unreadable"] == ["other"]
    assert states_of(done.stdout) == {"net": "not built"}
    assert "unknown field" in done.stderr
    assert toy.doit("status", "-q").returncode == 1
    assert toy.doit("status", "net").returncode == 0


def states_of(text: str) -> dict[str, str]:
    return {each["label"]: each["state"] for each in json.loads(text)["labels"]}


def test_an_unknown_label_is_one_error_with_the_nearest_one(toy: ToyProject) -> None:
    done = toy.doit("status", "nett")
    assert (done.returncode, done.stdout) == (3, "")
    assert 'There is no label "nett". Did you mean "net"?' in done.stderr
