"""The comparison of two times: what differs, as a comment for a pull request, as text, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qatbuild.report.comment import Times, comment, text
from qatbuild.report.comparison import Difference, Model, difference
from qatbuild.report.markdown import LONGEST_COMMENT
from tests.unit.test_layer_table import NO_PARTNER, NOTHING_LOST, row

GOLDEN = Path(__file__).with_name("comment.md")
TIMES = Times("main", "the working tree")


def report(top1: float, size: int, **more: Any) -> dict[str, Any]:
    return {
        "metrics": {"top1": {"float": 91.0, "fake_quant": 90.5, "tflite": top1, "better": "higher", "percent": True}},
        "agreement": {"top1_percent": 99.5, "max_lsb": 2, "rmse_lsb": 0.5},
        "bytes": {"tflite": size, "ratio": 4.0},
        "gates": [{"name": "min_top1", "wanted": "90", "got": f"{top1:g}", "passed": top1 >= 90}],
        **more,
    }


LAYERS = [row("conv1", "CONV_2D"), NOTHING_LOST, NO_PARTNER]
WORSE = [row("conv1", "CONV_2D", sqnr_db={"float": 18.0, "fake_quant": None, "alone": 31.2}), NOTHING_LOST]
MAE = {"float": 0.0123456, "fake_quant": 0.0130001, "tflite": 0.0140002, "better": "lower"}
ROUTE = {"route": "vela", "gates": [{"name": "agreement", "wanted": "99", "got": "98", "passed": False}]}


@pytest.fixture
def differences() -> list[Difference]:
    """A label of each kind."""
    before = report(90.2, 1_000_000, layers=LAYERS, latency_ms={"median": 0.5})
    after = report(89.9, 1_100_000, layers=WORSE, latency_ms={"median": 0.4})
    after["metrics"] = {**after["metrics"], "mae": MAE}
    former = {"train": {"steps": 100, "seed": 1}, "evaluate": {"gates": {"a/b": 1}}}
    now = {"train": {"steps": 200, "seed": 1}, "evaluate": {"gates": {"a/b": "x|`y`"}}}
    return [
        difference("cnn@wide", Model(former, before), Model(now, after, {"vela": ROUTE}), ["code: nets changed"]),
        difference("fresh", None, Model({}, report(95.0, 2_000)), []),
        difference("gone", Model({}, report(93.0, 3_000)), None, []),
        difference(
            "same",
            Model(former, report(91, 9)),
            Model(former, missing=("same:float FAILED: no <data>",)),
            ["data.bin changed"],
        ),
    ]


def test_a_comment_has_a_row_a_label_and_the_details_below(differences: list[Difference]) -> None:
    """If not: look at the difference, and copy the comment into comment.md."""
    assert comment(TIMES, differences, ["broken"]) == GOLDEN.read_text(encoding="utf-8")


def test_text_has_a_block_a_label_and_the_numbers_of_them_at_the_end(differences: list[Difference]) -> None:
    lines = text(TIMES, differences).splitlines()
    assert lines[0] == "cnn@wide  changed"
    assert '  /evaluate/gates/a~1b  1 → "x|`y`"' in lines
    assert "  /train/steps          100 → 200" in lines
    assert "  layer conv1           sqnr_db.float 20.04 → 18, sqnr_db.fake_quant 50 → -" in lines
    assert next(line for line in lines if "note" in line).endswith("same:float FAILED: no <data>")
    assert lines[-1] == "qatbuild: 2 changed, 1 new, 1 removed, from main to the working tree"


def test_json_has_the_values_as_they_were_measured(differences: list[Difference]) -> None:
    changed, fresh, gone, same = json.loads(json.dumps([each.to_json() for each in differences]))
    assert changed["fields"][-1] == {"pointer": "/train/steps", "former": 100, "now": 200}
    assert changed["now"]["metrics"]["mae"] == MAE
    assert (changed["former"]["latency_ms"], changed["now"]["bytes"]) == (0.5, 1_100_000)
    assert [gate["name"] for gate in changed["now"]["gates"]] == ["min_top1", "vela: agreement"]
    assert [(layer["name"], layer["fate"]) for layer in changed["layers"]] == [("conv1", "changed"), ("?", "removed")]
    assert (fresh["former"], fresh["fields"], gone["now"]) == (None, [], None)
    assert same["now"]["missing"] == ["same:float FAILED: no <data>"]
    assert same["now"]["bytes"] is None


def test_a_field_that_is_null_equals_one_that_is_absent() -> None:
    each = difference("net", Model({"a": {"b": None}, "c": None}), Model({"a": {}}), [])
    assert each.fields == ()


def test_a_value_with_a_line_break_or_colours_stays_in_its_cell() -> None:
    each = difference("net", Model({"a": "x"}), Model({"a": "one\ntwo \x1b[31m`three` <b>"}), ["a\nb"])
    assert len([line for line in comment(TIMES, [each]).splitlines() if line.startswith("| `/a`")]) == 1
    assert "\x1b" not in comment(TIMES, [each]) + text(TIMES, [each])


def test_without_a_difference_a_comment_is_one_line() -> None:
    assert comment(TIMES, []) == "### qatbuild: no label differs, from main to the working tree\n"


def test_a_comment_of_a_thousand_labels_is_cut_to_what_a_server_takes(differences: list[Difference]) -> None:
    many = [differences[0]._replace(label=f"net{number:04}") for number in range(1000)]
    written = comment(TIMES, many)
    assert len(written) < LONGEST_COMMENT
    assert "and 900 more labels" in written
    assert written.rstrip().splitlines()[-1].endswith("labels' details: `doit diff --format json` has all of them")
    assert written.count("<details>") == written.count("</details>") > 50


def test_what_is_missing_at_both_times_is_said_once() -> None:
    each = difference("net", Model(missing=("net:float is gone",)), Model(missing=("net:float is gone",)), [])
    assert comment(TIMES, [each]).count("net:float is gone") == 1
    assert "before" not in comment(TIMES, [each])
