"""Packs the facts about a model's layers for the page: figures in columns, histograms in one letter a bin.

A page of a thousand models has tens of thousands of layers, so each figure is written without its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_LEVELS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
"""A bin's height in 64 steps of the logarithm of its count."""

_DIGITS = 5

Json = Mapping[str, Any]


class Node(NamedTuple):
    """A layer of the network's graph: its row of report.json, and what details.json has about it; both may be empty."""

    name: str
    operator: str
    row: Json
    about: Json


def nodes(rows: Sequence[Json], about: Mapping[str, Json]) -> list[Node]:
    """Returns the layers in the order of execution; those without a row come last.

    `rows` are the layers of report.json, whose names may repeat, `about` those of details.json by name.
    """
    names = {each.get("position"): name for name, each in about.items()}
    measured = []
    for row in sorted(rows, key=lambda row: row.get("position", 0)):
        name = names.get(row.get("position", -1)) or row["name"] or "?"
        measured.append(Node(name, row["operator"], row, about.get(name, {})))
    present = {node.name for node in measured}
    return measured + [Node(name, each["operator"], {}, each) for name, each in about.items() if name not in present]


def network(layers: Sequence[Node]) -> list[list[Any]]:
    """Returns [name, operator, names of its inputs] of each layer; None for the inputs of one without details."""
    return [[node.name, node.operator, list(node.about["inputs"]) if node.about else None] for node in layers]


def measures(layers: Sequence[Node], rows: Sequence[Json]) -> dict[str, list[Any]]:
    """Returns the figures that are looked at first, as columns, and `worst`, the order of report.json's `rows`.

    None stands for a missing value; a layer that loses nothing against a reference has the SQNR "=".
    """
    place = {id(node.row): at for at, node in enumerate(layers)}
    columns = {
        "alone": [_sqnr(node.row, "alone", "same_inputs") for node in layers],
        "float": [_sqnr(node.row, "float", "fake_quant") for node in layers],
        "saturated": [node.row.get("saturated_percent") for node in layers],
    }
    return _filled(columns | {"worst": [place[id(row)] for row in rows]})


def more_measures(layers: Sequence[Node]) -> dict[str, list[Any]]:
    """Returns the figures without which the worst layer can be seen, as columns."""
    return _filled(
        {
            "fake_quant": [_sqnr(node.row, "fake_quant", "fake_quant") for node in layers],
            "max_lsb": [node.row.get("max_lsb", {}).get("fake_quant") for node in layers],
            "same_inputs": [node.row.get("max_lsb", {}).get("same_inputs") for node in layers],
            "codes_used": [node.row.get("codes_used_percent") for node in layers],
            "clipped": [node.row.get("signs", {}).get("clipped_percent") for node in layers],
        }
    )


def histograms(layers: Sequence[Node]) -> list[Any]:
    """Returns [of the weights, of the activations] of each layer; None where there are no counts."""
    return [[_packed(node.about.get(kind)) for kind in ("weights", "activations")] for node in layers]


def _filled(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Returns the columns in which a layer has a figure."""
    return {name: column for name, column in columns.items() if any(each is not None for each in column)}


def _sqnr(row: Json, reference: str, compared: str) -> Any:
    """Returns the SQNR in dB; "=" for no loss, which report.json writes as null beside a difference in LSB."""
    value = row.get("sqnr_db", {}).get(reference)
    return "=" if value is None and row.get("max_lsb", {}).get(compared) is not None else value


def _packed(histogram: Json | None) -> list[Any] | None:
    """Returns [minimum, maximum, letters, scale, zero point, bits], the scale a list [least, largest] by channel."""
    if not histogram:
        return None
    scale, counts = histogram["scale"], histogram["counts"]
    most, highest = math.log1p(max(counts, default=0)) or 1.0, len(_LEVELS) - 1
    letters = "".join(_LEVELS[min(highest, math.ceil(highest * math.log1p(count) / most))] for count in counts)
    scales = [_short(min(scale)), _short(max(scale))] if isinstance(scale, list) else _short(scale)
    ends = [_short(histogram["minimum"]), _short(histogram["maximum"])]
    return [*ends, letters, scales, histogram["zero_point"], histogram["bits"]]


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
