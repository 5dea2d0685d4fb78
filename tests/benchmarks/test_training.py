"""The benchmark of trainings, run on a small scale."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths
from tests.benchmarks import table
from tests.benchmarks.measure import FailedRunError
from tests.benchmarks.training.__main__ import main
from tests.benchmarks.training.pipe import Worker
from tests.benchmarks.training.side_by_side import project
from tests.benchmarks.training.sides import environment
from tests.benchmarks.training.table import markdown, ratio


@pytest.mark.slow
def test_sides_take_their_steps_by_turns_and_a_tool_that_is_not_there_is_a_row_with_the_reason(tmp_path: Path) -> None:
    wanted = ["cifarnet/float32/float", "resnet8/float32/frozen", "tfmot/float32/quantized"]
    few = ["--rounds", "2", "--steps", "1", "--warm-up", "0", "--pairs", "0", "--without-tfmot"]
    main([*few, "--sides", *wanted, "--out", str(tmp_path / "training")])
    result = json.loads((tmp_path / "training.json").read_text())
    assert {name: [len(steps) for steps in each["rounds"]] for name, each in result["sides"].items()} == {
        "cifarnet/float32/float": [1, 1],
        "resnet8/float32/frozen": [1, 1],
    }
    assert all(each["peak_bytes"] > 100e6 for each in result["sides"].values())
    text = (tmp_path / "training.md").read_text()
    assert text == markdown(result)
    assert "| CifarNet, `fit` of tfmot and tf_keras | float32 | quantized | not asked for | | |" in text


def side(*rounds: list[float], precision: str = "float32") -> dict[str, Any]:
    return {"precision": precision, "peak_bytes": 700 * 2**20, "rounds": list(rounds)}


def result(**sides: dict[str, Any]) -> dict[str, Any]:
    named = {name.replace("__", "/"): each for name, each in sides.items()}
    about = ("commit", "date", "cpu", "threads", "cores", "load", "python")
    counts = {"batch": 128, "steps": 1, "versions": {}, "left_out": {}}
    return {"host": dict.fromkeys(about, "-"), **counts, "sides": named}


def test_a_ratio_compares_the_sides_within_each_round() -> None:
    slow_later = result(
        cifarnet__float32__float=side([1.0], [2.0], [4.0]), cifarnet__float32__quantized=side([1.1], [2.2], [4.4])
    )
    assert ratio(slow_later, "cifarnet/float32/quantized", "cifarnet/float32/float") == pytest.approx(1.1)
    assert "| CifarNet float32: quantized / float | 1.10 | <= 1.2 |" in markdown(slow_later)


def test_missing_bfloat16_is_reported_and_gives_no_ratio() -> None:
    fallen_back = result(
        cifarnet__float32__quantized=side([0.1]), cifarnet__bfloat16__quantized=side([0.1], precision="float32")
    )
    text = markdown(fallen_back)
    assert "| float32, for this processor has no bfloat16 | quantized | 100.0 |" in text
    assert "| CifarNet quantized: bfloat16 / float32 | not measured |" in text
    assert "there |" not in text


def test_two_trainings_are_weighed_by_turns_and_the_larger_peak_counts() -> None:
    def cost(wall: float, mib: int) -> dict[str, float]:
        return {"wall_seconds": wall, "cpu_seconds": 2 * wall, "peak_bytes": mib * 2**20}

    ways = {"one after the other": [cost(10, 600), cost(20, 600)], "side by side": [cost(9, 500), cost(18, 700)]}
    text = markdown({**result(), "side_by_side": {"steps": 2, "images": 10, "ways": ways}})
    assert "| two trainings: side by side / one after the other | 0.90 | <= 1.15 |" in text
    assert "| peak MiB of a CifarNet training | 700 | <= 2048 |" in text


def test_two_trainings_differ_in_their_seed_alone(tmp_path: Path) -> None:
    project(tmp_path / "two", steps=4, threads=1, images=20)
    file = tmp_path / "two/specs/two.json"
    one, other = load("two", file, AllowedPaths(tmp_path / "two"))
    assert (one.train.seed, other.train.seed) == (1, 2)
    assert {variant.train.steps for variant in (one, other)} == {4}
    assert one.model == other.model


@pytest.mark.parametrize("before", ["", "print({}, flush=True); input();"], ids=["at its start", "at a step"])
def test_a_side_that_dies_is_one_failure_with_its_last_words(before: str) -> None:
    dying = [sys.executable, "-c", f"import sys; {before} sys.exit('no such ' + 'network')"]
    with pytest.raises(FailedRunError, match="no such network"), Worker(dying, dict(os.environ)) as worker:
        worker.steps(1)


@pytest.mark.parametrize("half_made", [False, True])
def test_where_no_environment_can_be_made_the_reason_has_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, half_made: bool
) -> None:
    if half_made:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(FailedRunError, match=r"^python -m venv failed: .*ensurepip"):
        environment(tmp_path)


def test_a_table_goes_between_its_marks_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = "a\n<!-- tests/benchmarks/results/{}.md -->\nold\n<!-- end -->\nb\n"
    (tmp_path / "benchmarks.md").write_text(marks.format("growth") + marks.format("training"))
    (tmp_path / "training.md").write_text("new\n")
    monkeypatch.setattr(table, "BENCHMARKS", tmp_path / "benchmarks.md")
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    table.into_page("training")
    assert (tmp_path / "benchmarks.md").read_text() == marks.format("growth") + marks.format("training").replace(
        "old", "new"
    )
    assert table.in_page("training") == "new\n"
