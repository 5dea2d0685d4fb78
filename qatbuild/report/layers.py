"""The table of a model's layers, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qatbuild.exchange.files import read_json
from qatbuild.report.table import aligned

_HEAD = (
    ("", "", "dB", "dB from", "dB from", "LSB, same", "LSB,", "codes", "satu-"),
    ("layer", "operator", "alone", "float", "fake-quant", "inputs", "whole net", "used %", "rated %"),
)


def layer_table(report: Mapping[str, Any], most: int | None = None) -> str:
    """Returns the table of report.json's "layers", at most `most` rows; '' for a report without layers.

    dB is the signal to quantization noise ratio (SQNR); "alone" is the layer by itself, in float, with its
    inputs in the .tflite. LSB is the largest difference from the fake-quantized graph in steps of the layer's output.
    "=" means no loss, "?" a missing value.
    """
    layers: Sequence[Mapping[str, Any]] = report.get("layers", [])
    if not layers:
        return ""
    text = aligned((*_HEAD, *(_row(layer) for layer in layers[:most])), left={0, 1})
    rest = len(layers) - len(layers[:most])
    return "\n".join([*text, *([f"and {rest} more in report.json"] if rest else [])]) + "\n"


def worst_layers(path: Path, most: int = 5) -> str:
    """Returns the worst layers of a refused model's report, for printing; '' if it has none."""
    if not path.is_file():
        return ""
    report = read_json(path)
    text = layer_table(report, most)
    return f"\nworst layers of {report['label']}\n{text}" if text else ""


def _row(layer: Mapping[str, Any]) -> tuple[str, ...]:
    sqnr, lsb = layer["sqnr_db"], layer["max_lsb"]
    return (
        layer["name"] or "?",
        layer["operator"],
        _db(sqnr["alone"], lsb["same_inputs"]),
        _db(sqnr["float"], lsb["fake_quant"]),
        _db(sqnr["fake_quant"], lsb["fake_quant"]),
        _number(lsb["same_inputs"]),
        _number(lsb["fake_quant"]),
        f"{layer['codes_used_percent']:.1f}",
        f"{layer['saturated_percent']:.2f}",
    )


def _db(value: float | None, compared: float | None) -> str:
    if value is None:
        return "?" if compared is None else "="
    return f"{value:.1f}"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"
