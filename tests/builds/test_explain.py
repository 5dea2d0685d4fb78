"""`doit explain` and `doit plan`: every stale stage has its reasons, and nothing is run to find them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builds.conftest import SPEC, ToyProject


def explained(toy: ToyProject, *arguments: str) -> dict[str, dict[str, Any]]:
    """Stage name -> its entry in `doit explain --json`."""
    done = toy.doit("explain", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert toy.runs() == []
    return {stage["stage"]: stage for stage in json.loads(done.stdout)["stages"]}


def reasons(toy: ToyProject, stage: str) -> list[str]:
    return [reason["text"] for reason in explained(toy)[stage]["reasons"]]


def test_a_built_label_needs_nothing(toy: ToyProject) -> None:
    toy.built()
    assert {stage["will"] for stage in explained(toy).values()} == {"current"}
    assert toy.doit("explain").stdout == "8 up to date\n"


def test_a_stage_without_artifacts_will_run(toy: ToyProject) -> None:
    assert {stage["will"] for stage in explained(toy).values()} == {"run"}
    assert reasons(toy, "evaluate") == ["not built yet"]


def test_a_changed_field_is_named_with_both_values(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", train={"steps": 100, "learning_rate": {"initial": 0.05}}, quantize={"steps": 20})
    assert "train.learning_rate.initial: 0.1 -> 0.05" in reasons(toy, "float")
    assert explained(toy)["dataset"]["will"] == "current"


def test_a_changed_file_is_named(toy: ToyProject) -> None:
    toy.built()
    (toy.root / "specs/data.bin").write_text("others")
    assert reasons(toy, "dataset") == ["specs/data.bin changed"]
    assert explained(toy)["float"]["will"] == "may run"
    assert reasons(toy, "float")[0] == "dataset will run; may be cut off"


def test_a_changed_module_of_the_user_is_named(toy: ToyProject) -> None:
    (toy.root / "net.py").write_text("from layers import conv\n\ndef build(images, classes, *, training):\n    conv\n")
    (toy.root / "layers.py").write_text("conv = 1\n")
    toy.spec("net", model={"call": "net:build"})
    toy.built()
    (toy.root / "layers.py").write_text("conv = 2\n")
    assert reasons(toy, "float")[0] == "code: layers changed"
    (toy.root / "net.py").write_text("def build(images, classes, *, training):\n    1\n")
    assert reasons(toy, "float")[:2] == ["code: layers is gone", "code: net changed"]


def test_a_damaged_artifact_is_named(toy: ToyProject) -> None:
    toy.built()
    (toy.root / "build/net/frozen_graph.pb").unlink()
    (toy.root / "build/net/model.tflite").write_text("?")
    assert reasons(toy, "freeze") == ["frozen_graph.pb: missing"]
    assert reasons(toy, "convert")[0].startswith("model.tflite: 1 bytes instead of")


def test_the_tree_shows_every_stale_stage_with_all_its_reasons(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", evaluate={"min_top1": 50, "latency_runs": 7})
    assert toy.doit("explain", "net").stdout == (
        "net:evaluate  run\n├── evaluate.latency_runs: 100 -> 7\n└── evaluate.min_top1: null -> 50\n7 up to date\n"
    )


def test_the_plan_lists_the_stages_that_the_build_then_runs(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", convert={"checkpoint": 8})
    done = toy.doit("plan", "--json")
    planned = [stage["stage"] for stage in json.loads(done.stdout)["stages"] if stage["will"] != "current"]
    assert toy.runs() == []
    assert planned == toy.built()


def test_the_plan_is_one_line_a_stage(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", evaluate={"min_top1": 50})
    assert toy.doit("plan").stdout == "run      net:evaluate: evaluate.min_top1: null -> 50\n7 up to date, 1 run\n"


def test_a_label_with_its_stage_is_explained_up_to_there(toy: ToyProject) -> None:
    toy.spec("other", quantize={"steps": 7})
    assert set(explained(toy, "net:float")) == {"dataset", "check", "float"}
    assert toy.doit("explain", "net:float").stdout.startswith("net:dataset (and 1 more)  run\n")


def test_options_may_stand_behind_the_label(toy: ToyProject) -> None:
    assert toy.doit("explain", "--json", "net").stdout == toy.doit("explain", "net", "--json").stdout


def test_commands_find_the_project_from_a_folder_below(toy: ToyProject) -> None:
    below = ToyProject(toy.root / "specs")
    assert below.doit("explain", "net:dataset").stdout.startswith("net:dataset  run")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nett", 'There is no label "nett". Did you mean "net"?'),
        ("net:flot", 'Did you mean "float"?'),
        ("--jsn", "doit explain: option --jsn not recognized"),
    ],
)
def test_an_unknown_label_is_one_error_with_the_nearest_name(toy: ToyProject, name: str, text: str) -> None:
    done = toy.doit("explain", name)
    assert done.returncode == 3
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_explaining_a_spec_with_faults_shows_them(toy: ToyProject) -> None:
    (toy.root / "specs/bad.json").write_text(json.dumps({**SPEC, "trian": {}}))
    done = toy.doit("explain", "bad")
    assert done.returncode == 3
    assert "/trian  unknown field" in done.stderr
    assert toy.doit("explain", "net").returncode == 0


def test_a_project_without_qatbuild_says_so_in_a_line(toy: ToyProject) -> None:
    (toy.root / "dodo.py").write_text("def task_hello():\n    return {'actions': ['true']}\n")
    done = toy.doit("explain")
    assert done.returncode == 3
    assert done.stderr == "ERROR: `doit explain` needs qatbuild specs, but this dodo.py has no project with specs.\n"


def test_going_back_to_a_built_spec_names_the_field_that_changed(toy: ToyProject) -> None:
    toy.built()
    stepwise = {"initial": 0.05, "schedule": "step", "boundaries": [50], "values": [0.01]}
    toy.spec("net", train={"steps": 100, "learning_rate": stepwise}, quantize={"steps": 20})
    toy.built()
    toy.spec("net", quantize={"steps": 20})
    assert explained(toy)["float"]["will"] == "current"
    assert "train.learning_rate.initial: 0.05 -> 0.1" in reasons(toy, "freeze")
