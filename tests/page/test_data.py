"""The page's block of JSON: only verified results are in it, hostile text stays text, equal parts are there once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qatbuild.exchange.published import run_path
from qatbuild.report.comparison import Model, difference
from qatbuild.report.failures import Failure
from qatbuild.report.models import ModelReport, read_models
from qatbuild.report.page import document, layers, page, write
from qatbuild.report.page.data import Entry, entry
from qatbuild.report.page.document import Changes
from tests.page.project import CLASSES, HOSTILE, LAYERS, Net, built, stage
from tests.page.reading import block, shown
from tests.page.thousand import thousand


def parts(model: ModelReport) -> dict[str, Any]:
    (one,) = shown(page([model]))
    return one["parts"]


@pytest.fixture
def net(tmp_path: Path) -> ModelReport:
    (model,) = built(tmp_path, {"net": Net()})
    return model


def test_a_model_has_what_its_stages_left(net: ModelReport) -> None:
    (model,) = shown(page([net]))
    assert (model["label"], model["state"], model["scheme"], model["bytes"]) == ("net", "passed", "int8", 40_000)
    assert model["metrics"]["top1"] == [90.2, 90.0, 90.0, 0, 1]
    assert model["seconds"] == 9.0
    assert model["built"] == 1772366400
    about = model["parts"]
    assert about["stage float"] == [4.0, 2**28, 0, "AMD EPYC"]
    assert about["curve of float"]["curve"]["loss"] == [2.0, 0.5, 0.1]
    assert about["setting train"] == {"steps": 1000, "seed": 1, "learning_rate": {"initial": 0.1}}
    assert about["confusion"]["labels"] == list(CLASSES)
    assert [name for name, _, _ in about["network"]] == list(LAYERS)
    assert about["network"][3][2] == ["conv2", "shortcut"]
    assert about["provenance"]["packages"] == {"tensorflow": "2.21.0"}
    assert len(about["identity"]["model.tflite"]) == 64


def test_a_gate_that_got_what_it_wanted_is_written_once(net: ModelReport) -> None:
    about = parts(net)
    assert about["gate_names"][0] == ["", "fully integer", "int8 only"]
    assert about["gate_results"] == [[0, 1], ["0.2 points", 1]]


@pytest.mark.parametrize("how", ["edited", "removed"])
def test_details_that_are_not_as_they_were_published_are_left_out(net: ModelReport, how: str) -> None:
    assert net.home is not None
    file = net.home / "details.json"
    file.write_text(file.read_text().replace("90", "99")) if how == "edited" else file.unlink()
    about = parts(net)
    assert "confusion" not in about
    assert "histograms" not in about
    assert "measures" in about


def test_a_stage_that_was_built_again_since_is_left_out_with_all_before_it(net: ModelReport) -> None:
    assert net.home is not None
    stage(net.home.parent / "shared/float-1000", "float", {}, {}, {"validation": {"1": 2}, "metric": "top1"})
    about = parts(net)
    assert "stage quantize" in about
    assert "stage float" not in about
    assert "curve of float" not in about


def test_times_of_an_edited_run_are_not_shown(net: ModelReport) -> None:
    assert net.home is not None
    run_path(net.home, "evaluate").write_text('{"seconds": 1e9}')
    (model,) = shown(page([net]))
    assert model["seconds"] == 8.0
    assert model["parts"]["stage evaluate"][0] is None


def test_an_evaluation_that_was_edited_shows_nothing_of_its_build(tmp_path: Path) -> None:
    built(tmp_path, {"net": Net()})
    (tmp_path / "net/report.json").write_text("{}")
    (model,) = shown(page(read_models(tmp_path, {"net": []})))
    assert (model["state"], model["why"]) == ("stale", ["evaluate"])
    assert set(model["parts"]) == {"failures"}


def test_a_failed_stage_has_its_error_and_no_result(tmp_path: Path) -> None:
    failure = Failure("net", "evaluate", "No memory.\n  hint: buy some")
    (model,) = shown(page(built(tmp_path, {"net": Net()}, {failure.key: failure})))
    assert (model["state"], model["why"]) == ("failed", ["evaluate"])
    assert model["parts"]["failures"][0]["block"] == failure.block
    assert "metrics" not in model


def test_no_text_of_a_spec_is_markup_or_moves_others(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    text = page(built(tmp_path / "build", {"net": Net(warnings=(HOSTILE,))}))
    assert text.count("<script") == 2
    assert "<img" not in text
    assert "\u202e" not in text
    (model,) = shown(text)
    assert model["parts"]["warnings"] == [HOSTILE.replace("\u202e", "\\u202e")]


def test_the_page_loads_nothing_and_runs_its_own_script_only(net: ModelReport) -> None:
    text = page([net])
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert "default-src 'none'; script-src 'sha256-" in text
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


def test_what_is_equal_in_many_models_is_written_once(tmp_path: Path) -> None:
    text = block(page(built(tmp_path, {f"net{at}": Net(bytes=40_000 + at) for at in range(9)})))
    assert text.count('"learning_rate":{"initial"') == 1
    assert text.count('["conv1","CONV_2D"') == 1


def test_an_entry_survives_the_cache_of_the_pages(net: ModelReport) -> None:
    made = entry(net)
    assert Entry.of(made.to_text()) == made
    assert document([made]) == page([net])


def test_a_report_of_version_0_1_is_shown(tmp_path: Path) -> None:
    old = {
        "label": "old", "examples": 10, "top1": {"float": 90.0, "fake_quant": 89.5, "tflite": 89.25}, "gates": [],
        "agreement": {"top1_percent": 99.5, "max_lsb": 2}, "bytes": {"tflite": 100, "ratio": 4.0},
    }  # fmt: skip
    (model,) = shown(page([ModelReport("old", old, (), {}, tmp_path)]))
    assert model["metrics"] == {"top1": [90.0, 89.5, 89.25, 0, 1]}


def test_routes_have_their_artifact_and_why_they_were_not_run() -> None:
    route = {
        "route": "vela", "artifact": "model.bin", "bytes": 12, "versions": {"vela": "5.1"}, "comparison": None,
        "why_not_run": "no interpreter runs it", "notes": ["a note"], "warnings": [], "gates": [], "verdict": "passed",
    }  # fmt: skip
    (row,) = parts(ModelReport("net", None, (route,), {}))["routes"]
    assert row["artifact"] == "deploy/vela/model.bin"
    assert row["remarks"] == ["a note", "no interpreter runs it"]


def test_no_models_make_a_page() -> None:
    text = page([])
    assert "<title>qatbuild: 0 models</title>" in text
    assert shown(text) == []


def test_a_missing_figure_is_not_the_same_as_no_loss() -> None:
    row = {"position": 0, "name": "a", "operator": "ADD", "sqnr_db": {"float": None, "alone": None}}
    row["max_lsb"] = {"fake_quant": 0.0, "same_inputs": None}
    figures = layers.measures(layers.nodes([row], {}), [row])
    assert figures["float"] == ["="]
    assert "alone" not in figures


def test_each_bin_that_is_not_empty_is_seen() -> None:
    histogram = {"minimum": 0, "maximum": 1, "counts": [0, 1, 10**40], "scale": 0.1, "zero_point": 0, "bits": 8}
    ((packed, _),) = layers.histograms(layers.nodes([], {"a": {"operator": "ADD", "weights": histogram}}))
    assert packed[2][0] == "0"
    assert packed[2][1] != "0"
    assert packed[2][2] == "_"


def test_changes_since_another_time_are_on_the_page(net: ModelReport, tmp_path: Path) -> None:
    former = Model({"train": {"steps": 500}}, {**(net.report or {}), "bytes": {"tflite": 50_000}})
    now = Model({"train": {"steps": 1000}}, net.report)
    write(tmp_path / "page.html", [net], changes=Changes("main", "now", [difference("net", former, now, ())]))
    changes = json.loads(block((tmp_path / "page.html").read_text()))["changes"]
    assert changes["former"] == "main"
    assert changes["differences"][0]["fields"] == [{"pointer": "/train/steps", "former": 500, "now": 1000}]


def test_a_page_of_a_thousand_models_has_at_most_two_megabytes(tmp_path: Path) -> None:
    text = thousand(tmp_path)
    assert len(text.encode()) <= 2_000_000
    data = json.loads(block(text))
    assert data["left_out"][0] == "histograms"
    assert {"network", "measures"} <= set(data["names"]) - set(data["left_out"])


def test_layers_of_one_name_are_distinguished_by_their_position() -> None:
    rows = [{"position": at, "name": "add", "operator": "ADD", "saturated_percent": at} for at in (1, 0)]
    about = {name: {"operator": "ADD", "inputs": [], "position": at} for at, name in enumerate(("add", "add_1"))}
    nodes = layers.nodes(rows, about)
    assert [name for name, _, _ in layers.network(nodes)] == ["add", "add_1"]
    assert layers.measures(nodes, rows) == {"saturated": [0, 1], "worst": [1, 0]}
