"""Converts the inputs and outputs of a valid document to typed values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qatbuild.schema import model
from qatbuild.schema.tasks import TASKS

IMAGES, LABELS = "images", "labels"
"""The names of the one input, and of the one output, of a spec that names none."""


def inputs(document: Mapping[str, Any]) -> dict[str, model.Input]:
    """Returns the inputs by name, sorted; the short form's is named images."""
    fields = document.get("inputs") or {IMAGES: document["input"]}
    return {name: _input(fields[name]) for name in sorted(fields)}


def outputs(document: Mapping[str, Any]) -> dict[str, model.Output]:
    """Returns the outputs by name, sorted; by default a classification named labels."""
    fields = document.get("outputs") or {LABELS: {"task": "classification"}}
    return {name: _output(fields[name]) for name in sorted(fields)}


def _input(fields: Mapping[str, Any]) -> model.Input:
    if fields.get("real"):
        return model.Input(real=True, range=_range(fields.get("range")))
    return model.Input(_by_channel(fields["mean"]), _by_channel(fields["std_dev"]), fields.get("order", "rgb"))


def _by_channel(value: Any) -> float | tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, list) else float(value)


def _output(fields: Mapping[str, Any]) -> model.Output:
    task = TASKS[fields["task"]]
    anchors = fields.get("anchors")
    return model.Output(
        task=fields["task"],
        loss=fields.get("loss") or next(iter(task.losses), None),
        weight=float(fields.get("weight", 1)),
        values=fields.get("values") or next(iter(task.values), None),
        anchors=None if anchors is None else _anchors(anchors),
        metrics={name: model.Metric(**metric) for name, metric in fields.get("metrics", {}).items()},
        range=_range(fields.get("range")),
        target=fields.get("target"),
    )


def _anchors(fields: Mapping[str, Any]) -> model.Anchors:
    maps = tuple((int(height), int(width)) for height, width in fields["feature_maps"])
    ratios = fields.get("aspect_ratios", model.Anchors._field_defaults["aspect_ratios"])
    return model.Anchors(maps, tuple(map(float, fields["scales"])), tuple(map(float, ratios)))


def _range(ends: Any) -> model.Range | None:
    return None if ends is None else (float(ends[0]), float(ends[1]))
