"""The tables and the JUnit file of a build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from qatbuild.engine.reason import Reason
from qatbuild.exchange.published import NO_MANIFEST, Record, described
from qatbuild.exchange.request import Request
from qatbuild.report.failures import Failure, load, update
from qatbuild.report.junit import junit
from qatbuild.report.markup import attribute, escape
from qatbuild.report.models import read_models
from qatbuild.report.table import aligned, routes, table


def gate(name: str, *, passed: bool = True) -> dict[str, Any]:
    return {"name": name, "wanted": "at most <1> & no more", "got": "1", "passed": passed}


def report(label: str, **more: Any) -> dict[str, Any]:
    return {
        "label": label,
        "examples": 360,
        "top1": {"float": 90.0, "fake_quant": 89.5, "tflite": 89.25},
        "agreement": {"top1_percent": 99.5, "max_lsb": 2},
        "bytes": {"frozen_graph": 400, "float_graph": 390, "tflite": 100, "ratio": 4.0},
        "gates": [gate("max_accuracy_drop")],
        **more,
    }


def route(name: str, **more: Any) -> dict[str, Any]:
    return {
        "route": name,
        "label": "net",
        "artifact": "model.bin",
        "bytes": 12345,
        "versions": {"tool": "1.2"},
        "comparison": {"file": "model.bin", "examples": 100, "top1_percent": 99.0, "max_lsb": 2.5},
        "why_not_run": "",
        "notes": ["a note"],
        "warnings": [],
        "gates": [gate("agrees")],
        "verdict": "passed",
        **more,
    }


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """Two models; one of them has two routes, of which one was refused."""
    refused = route("vela", comparison=None, why_not_run="no interpreter runs it", verdict="REFUSED: min_npu_percent")
    refused["gates"] = [gate("min_npu_percent", passed=False)]
    files = {
        "net/report.json": report("net", layers=[{"name": "conv1", "sqnr_db": {"float": 31.5, "alone": None}}]),
        "net/deploy/onnx/route.json": route("onnx", warnings=["Mind <this>."]),
        "net/deploy/vela/route.json": refused,
        "net/deploy/gone/route.json": route("gone"),
        "other/report.json": report("other"),
        "gone/report.json": report("gone"),
    }
    for name, content in files.items():
        write(tmp_path / name, json.dumps(content))
    write(tmp_path / "broken/report.json", "{")
    return tmp_path


def write(file: Path, text: str) -> None:
    """Writes a report with the record of its stage."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    folder, stage = file.parent, "evaluate" if file.name == "report.json" else f"deploy.{file.parent.name}"
    request = Request(stage, {}, {}, {}, {}, "", 1, folder, folder, folder, folder)
    record = Record.sealed(request, NO_MANIFEST, described(folder, [file.name]))
    Request.path_of(folder, stage).write_text(record.to_json())


LABELS = {"net": ["onnx", "vela", "untaken"], "other": [], "broken": [], "unbuilt": ["vela"]}


def test_only_models_of_the_plan_with_a_report_that_can_be_read_are_listed(build: Path) -> None:
    assert [model.label for model in read_models(build, LABELS)] == ["net", "other"]


def test_a_failure_replaces_the_result_of_an_earlier_build(build: Path) -> None:
    lost = [Failure("net", "deploy.onnx", "No <tool>.\n  hint: \x1b[1mget it"), Failure("other", "freeze", "Broken.")]
    failed = update(build / "failures.json", [*lost, Failure("other", "evaluate", "")], [])
    models = read_models(build, LABELS, failed)
    root = ET.fromstring(junit(models))
    assert [root.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["5", "1", "2", "1"]
    assert [each.get("message") for each in root.iter("error")] == ["FAILED: No <tool>.", "FAILED: Broken."]
    assert routes([], [failed["net:deploy.onnx"]]).splitlines()[1].split()[:3] == ["net:deploy.onnx", "-", "-"]


def test_a_failure_is_listed_until_its_stage_succeeds(build: Path) -> None:
    file = build / "failures.json"
    update(file, [Failure("net", "deploy.onnx", "a"), Failure("net", "freeze", "b")], ["net:convert"])
    assert list(update(file, [], ["net:freeze"])) == ["net:deploy.onnx"]
    assert update(file, [], ["net:deploy.onnx"]) == {}
    assert not file.exists()
    file.write_text('[{"what": 1}]')
    assert load(file) == {}


def test_no_page_or_table_has_a_character_that_moves_or_colours_others() -> None:
    evil = "\x1b[31m\u202e\x9b\ud800"
    texts = [escape(f"{evil}\n<b>"), attribute(f"{evil}\n<b>"), *aligned([(evil, "a"), ("b", evil)], left={0})]
    assert texts[0] == r"\x1b[31m\u202e\x9b\ud800" + "\n&lt;b&gt;"
    assert texts[1] == r'"\x1b[31m\u202e\x9b\ud800&#10;&lt;b&gt;"'
    assert all(line.isprintable() for text in texts for line in text.split("\n"))
    assert Reason("setting", "deploy.litert.description", "a", evil[:-1]).text.isprintable()
    assert len(Reason("setting", "quantize.overrides", ["a" * 1000], None).text) < 300


def test_junit_has_a_case_for_each_gate_and_a_failure_for_each_that_failed(build: Path) -> None:
    root = ET.fromstring(junit(read_models(build, LABELS)))
    assert (root.get("tests"), root.get("failures")) == ("4", "1")
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert ("net", "max_accuracy_drop") in names
    assert ("net:deploy.vela", "min_npu_percent") in names
    (failure,) = root.iter("failure")
    assert failure.get("message") == "wanted at most <1> & no more, got 1"


def test_table_of_routes_has_size_agreement_and_verdict_and_warnings_below(build: Path) -> None:
    text = routes([build / f"net/deploy/{name}/route.json" for name in ("onnx", "vela")])
    _, onnx, vela, warning = text.splitlines()
    assert onnx.split()[:4] == ["net:deploy.onnx", "12,345", "99.00", "2.5"]
    assert "passed; a note" in onnx
    assert "not run" in vela
    assert "REFUSED: min_npu_percent" in vela
    assert warning == "onnx: Mind <this>."
    assert routes([]) == ""


def figures(value: float, *, percent: bool, better: str = "higher") -> dict[str, Any]:
    return {"float": value, "fake_quant": value, "tflite": value / 2, "better": better, "percent": percent}


ANGLE = {"dtype": "int8", "scale": 0.02, "zero_point": -3, "shape": [1, 2]}
FEATURES = {"dtype": "int8", "scale": 0.04, "zero_point": 3, "shape": [1, 5]}
PICTURE = {"dtype": "int8", "scale": 1 / 255, "zero_point": -128, "shape": [1, 8, 8, 1]}


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A model that classifies, one that only measures an angle, and one without labels."""
    angle = report(
        "angle",
        metrics={"mae": figures(0.51234, percent=False, better="lower"), "r2": figures(0.9, percent=False)},
        agreement={"top1_percent": None, "max_lsb": 2, "rmse_lsb": 0.5},
        agreements={
            "angle": {"top1_percent": None, "max_lsb": 2, "rmse_lsb": 0.5},
            "kind": {"top1_percent": 98.5, "max_lsb": 1, "rmse_lsb": 0.1},
        },
        inputs={"features": FEATURES, "picture": PICTURE},
        outputs={"angle": ANGLE},
        scalings={"features": {"real": True, "range": None}, "picture": {"mean": 0, "std_dev": 255, "zero_point": 0}},
    )
    angle.pop("top1")
    classes = report("classes", metrics={"top1": figures(90.0, percent=True)})
    unlabelled = report("unlabelled", metrics={})
    unlabelled.pop("top1")
    for each in (angle, classes, unlabelled):
        write(tmp_path / f"{each['label']}/report.json", json.dumps(each))
    return tmp_path


def test_table_names_each_model_s_first_metric_unless_all_are_classifications(tasks: Path, build: Path) -> None:
    paths = [tasks / f"{name}/report.json" for name in ("angle", "classes", "unlabelled")]
    _, head, angle, classes, unlabelled, *_ = table(paths, tasks).splitlines()
    assert head.split()[:5] == ["model", "metric", "float", "fake-quant", ".tflite"]
    assert angle.split()[:7] == ["angle", "mae", "0.5123", "0.5123", "0.2562", "-", "2"]
    assert classes.split()[:7] == ["classes", "top1", "90.00", "90.00", "45.00", "99.50", "2"]
    assert unlabelled.split()[:7] == ["unlabelled", "-", "-", "-", "-", "99.50", "2"]
    of_version_0_1 = table([build / "net/report.json", tasks / "classes/report.json"], tasks).splitlines()
    assert of_version_0_1[0].split()[:4] == ["top-1", "%", "top-1", "%"]
    assert of_version_0_1[2].split()[:5] == ["net", "90.00", "89.50", "89.25", "99.50"]


def test_route_of_real_values_has_no_share_of_equal_answers(tasks: Path) -> None:
    compared = {"file": "model.bin", "examples": 100, "top1_percent": None, "max_lsb": 2.5}
    write(tasks / "angle/deploy/onnx/route.json", json.dumps(route("onnx", label="angle", comparison=compared)))
    assert routes([tasks / "angle/deploy/onnx/route.json"]).splitlines()[1].split()[2:4] == ["-", "2.5"]
