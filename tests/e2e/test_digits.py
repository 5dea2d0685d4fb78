"""The first build of the README: the embedded digits, with the real toolchain."""

from __future__ import annotations

import json

import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.e2e.conftest import REPOSITORY, Project


def test_digits_build_leaves_the_contract_s_files(digits: Project) -> None:
    home = digits.root / "build/digits"
    for name in ("inference_graph.pb", "frozen_graph.pb", "model.tflite", "report.json", "log.txt"):
        assert (home / name).stat().st_size > 0


def test_report_has_the_contract_s_keys(digits: Project) -> None:
    report = digits.report("digits")
    keys = {"label", "examples", "top1", "agreement", "bytes", "input", "output", "latency_ms", "gates"}
    keys |= {"metrics", "agreements", "inputs", "outputs", "scalings"}
    assert keys <= set(report)
    assert set(report["top1"]) == {"float", "fake_quant", "tflite"}
    assert {"float", "fake_quant", "tflite"} <= set(report["metrics"]["top1"])
    assert {"top1_percent", "max_lsb"} <= set(report["agreement"])
    assert report["agreements"] == {"labels": report["agreement"]}
    assert (report["inputs"], report["outputs"]) == ({"images": report["input"]}, {"labels": report["output"]})
    assert {"frozen_graph", "float_graph", "tflite", "ratio"} <= set(report["bytes"])
    assert {"dtype", "scale", "zero_point", "shape"} <= set(report["input"])
    assert {"median", "p95", "threads", "kernels"} <= set(report["latency_ms"])
    assert all({"name", "wanted", "got", "passed"} <= set(gate) for gate in report["gates"])


def test_model_is_as_accurate_as_the_network(digits: Project) -> None:
    report = digits.report("digits")
    assert report["top1"]["float"] >= 95
    assert report["top1"]["tflite"] >= report["top1"]["float"] - 1
    assert report["agreement"]["top1_percent"] >= 99


def test_model_takes_and_gives_bytes(digits: Project) -> None:
    model = Interpreter(str(digits.root / "build/digits/model.tflite"))
    model.allocate_tensors()
    (image,), (answer,) = model.get_input_details(), model.get_output_details()
    spec = json.loads((REPOSITORY / "specs/digits.json").read_text())
    assert image["dtype"].__name__ == answer["dtype"].__name__ == "uint8"
    assert image["quantization"] == (pytest.approx(1 / spec["input"]["std_dev"]), spec["input"]["mean"])
    assert answer["quantization"] == (1 / 256, 0)


def test_closing_table_shows_the_report(digits: Project) -> None:
    printed = (digits.root / "build.txt").read_text()
    report = digits.report("digits")
    assert f"{report['top1']['tflite']:.2f}" in printed
    assert f"{len(report['gates'])} of {len(report['gates'])} passed" in printed
    assert "build/digits/model.tflite" in printed


def test_second_build_runs_nothing(digits: Project) -> None:
    assert digits.build("digits").startswith("8 up to date")
