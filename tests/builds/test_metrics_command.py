"""`doit metrics`: the verified figures of models."""

from __future__ import annotations

import json
from typing import Any

from tests.builds.conftest import SPEC, ToyProject


def metrics(toy: ToyProject, *names: str) -> dict[str, Any]:
    """The labels of `doit metrics --json` by name."""
    return {each["label"]: each for each in json.loads(toy.doit("metrics", "--json", *names).stdout)["labels"]}


def test_the_figures_stand_beside_the_state_that_they_are_of(toy: ToyProject) -> None:
    toy.built()
    toy.spec("net", evaluate={"min_top1": 50})
    toy.spec("more", train={**SPEC["train"], "steps": 7})
    labels = metrics(toy)
    assert labels["net"]["metrics"]["top1"]["tflite"] == 89.4
    assert (labels["net"]["bytes"], labels["net"]["agreement_percent"], labels["net"]["latency_ms"]) == (
        100,
        99.5,
        None,
    )
    assert (labels["net"]["state"], labels["net"]["verdict"]) == ("stale", "1 of 1 passed")
    assert (labels["more"]["state"], labels["more"]["metrics"]) == ("not built", {})
    assert labels["more"]["missing"] == ["more is not built"]
    head, *_, last = [" ".join(line.split()) for line in toy.doit("metrics").stdout.splitlines()]
    assert head == "model metric float fake-quant .tflite agreement % bytes ms state gates"
    assert last == "net top1 90.00 89.50 89.40 99.50 100 stale 1 of 1 passed"
    assert toy.doit("metrics").returncode == 0


def test_a_named_model_without_figures_ends_with_1(toy: ToyProject) -> None:
    done = toy.doit("metrics", "net")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split() == ["net", "not", "built"]


def test_an_edited_report_and_one_of_an_earlier_model_are_not_shown(toy: ToyProject) -> None:
    toy.built()
    report = toy.root / "build/net/report.json"
    sound = report.read_text()
    for damage in (sound.replace("89.4", "99.9"), "{", "[]", "", '{"gates": 1}'):
        report.write_text(damage)
        assert metrics(toy)["net"]["missing"] == ["net:evaluate stale: report.json was edited"], damage
        assert metrics(toy)["net"]["metrics"] == {}
    report.unlink()
    assert metrics(toy)["net"]["missing"] == ["net:evaluate stale: report.json is missing"]
    toy.built()
    toy.spec("net", train={**SPEC["train"], "steps": 7})
    toy.built("net:convert")
    assert metrics(toy)["net"]["missing"] == ["net:evaluate stale: of an earlier model"]


def test_a_refused_model_has_its_figures_and_the_gate(toy: ToyProject) -> None:
    gate = {"name": "min_top1", "wanted": "95", "got": "91.4", "passed": False}
    (toy.root / "report.json").write_text(json.dumps({"gates": [gate]}))
    (toy.root / "broken.txt").write_text("evaluate refuse")
    assert toy.doit("net").returncode == 1
    net = metrics(toy, "net")["net"]
    assert (net["state"], net["verdict"], net["gates"]) == ("refused", "REFUSED: min_top1", [gate])
    assert net["metrics"]["top1"]["float"] == 90.0
