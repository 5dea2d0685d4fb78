"""The page of a thousand models, each with the layers of a MobileNet and figures of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qatbuild.report.models import ModelReport, read_models
from qatbuild.report.page import document
from qatbuild.report.page.data import Entry, entry, named
from tests.page import project

LAYERS = 28
OWN = {
    "gate_results", "latencies", "sizes", "measures", "more measures", "histograms", "confusion", "confusions",
    "identity", "curve of float", "stage float", "stage quantize", "stage freeze", "stage convert", "stage evaluate",
}  # fmt: skip
"""The parts of which each model has others."""


def thousand(folder: Path, count: int = 1000) -> str:
    """The page, without pictures."""
    made = entry(large(folder))
    parts = {name: json.loads(part) for name, part in map(named, made.parts) if name != "pictures"}
    entries = []
    for at in range(count):
        own = {name: varied(part, at) if name in OWN else part for name, part in parts.items()}
        row = json.loads(made.row)
        row |= {"label": f"team/mobilenet@variant-{at}", "metrics": varied(row["metrics"], at % 97)}
        row |= {"bytes": 40_000 + 7 * at, "latency_ms": 0.4 + 0.001 * (at * 7919 % 1000)}
        entries.append(Entry.made(row, own))
    return document(entries)


def large(folder: Path) -> ModelReport:
    """A model with many layers."""
    report, details = project.report("net", project.PLAIN), project.details(project.PLAIN)
    names = [f"MobilenetV1/Conv2d_{at}_depthwise" for at in range(LAYERS)]
    report["layers"] = [{**report["layers"][0], "position": at, "name": name} for at, name in enumerate(names)]
    details["layers"] = dict.fromkeys(names, details["layers"]["conv1"])
    project.write(folder, "net", report, details)
    (model,) = read_models(folder, {"net": []})
    return model


def varied(value: Any, at: int) -> Any:
    """A value of which no number and no digest is that of another model."""
    if isinstance(value, float):
        return round(value + 0.01 * at, 2)
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:-4]}{at:04}"
    if isinstance(value, list):
        return [varied(each, at) for each in value]
    return {name: varied(each, at) for name, each in value.items()} if isinstance(value, dict) else value
