from __future__ import annotations

import json
from pathlib import Path

from qatbuild.report.layers import layer_table, worst_layers


def row(name: str, operator: str, **changes: object) -> dict[str, object]:
    return {
        "position": 0,
        "name": name,
        "operator": operator,
        "partner": f"{name}:0",
        "sqnr_db": {"float": 20.04, "fake_quant": 50.0, "alone": 31.2},
        "max_lsb": {"fake_quant": 2.0, "same_inputs": 1.0},
        "codes_used_percent": 88.28,
        "saturated_percent": 0.031,
    } | changes


NOTHING_LOST = row(
    "pool", "MAX_POOL_2D",
    sqnr_db={"float": 20.0, "fake_quant": None, "alone": None},
    max_lsb={"fake_quant": 0.0, "same_inputs": 0.0},
)  # fmt: skip
NO_PARTNER = row(
    "", "RESHAPE",
    partner=None,
    sqnr_db={"float": None, "fake_quant": None, "alone": None},
    max_lsb={"fake_quant": None, "same_inputs": None},
)  # fmt: skip


def test_a_row_a_layer_in_the_order_of_the_report() -> None:
    report = {"layers": [row("conv1", "CONV_2D"), NOTHING_LOST, NO_PARTNER]}
    lines = [line.split() for line in layer_table(report).splitlines()]
    assert lines[2] == ["conv1", "CONV_2D", "31.2", "20.0", "50.0", "1", "2", "88.3", "0.03"]
    assert lines[3] == ["pool", "MAX_POOL_2D", "=", "20.0", "=", "0", "0", "88.3", "0.03"]
    assert lines[4] == ["?", "RESHAPE", "?", "?", "?", "?", "?", "88.3", "0.03"]


def test_columns_stand_below_their_heads() -> None:
    lines = layer_table({"layers": [row("a_layer_of_a_long_name", "CONV_2D"), row("b", "ADD")]}).splitlines()
    assert len({len(line) for line in lines[1:]}) == 1


def test_only_the_worst_layers_are_shown_below_a_refused_model() -> None:
    lines = layer_table({"layers": [row(f"conv{at}", "CONV_2D") for at in range(7)]}, most=2).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["conv0", "conv1", "and"]
    assert lines[-1] == "and 5 more in report.json"


def test_of_a_refused_model_the_worst_layers_are_printed_below_its_label(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert not worst_layers(path)
    path.write_text(json.dumps({"label": "net@int8", "layers": [row("conv1", "CONV_2D")]}))
    lines = worst_layers(path).splitlines()
    assert (lines[1], lines[4].split()[0]) == ("worst layers of net@int8", "conv1")


def test_a_report_without_layers_has_no_table() -> None:
    assert layer_table({"label": "old"}) == ""
