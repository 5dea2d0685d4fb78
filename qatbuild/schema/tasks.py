"""The tasks of outputs, as a spec names them: which fields and metrics each has.

A task consists of one entry here and in spec.schema.json, and of the module qatbuild.worker.tasks.NAME.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_REAL_LOSSES = ("mse", "mae", "huber")


class Task(NamedTuple):
    """The choices of one task.

    losses    values of the field `loss`; the first is the default
    values    values of the field `values`; the first is the default
    metrics   names of the metrics; the first one gates
    fields    fields that only some tasks have, and this one has
    required  those of them that it needs
    pixels    whether its targets have places in the image
    moves     whether its targets hold for a shifted or mirrored image, or move along
    """

    losses: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    pixels: bool = False
    moves: bool = True


TASKS: Mapping[str, Task] = {
    "classification": Task(values=("probabilities", "logits"), metrics=("top1", "top5"), fields=("values",)),
    "multilabel": Task(metrics=("auc", "accuracy")),
    "regression": Task(losses=_REAL_LOSSES, metrics=("mae", "rmse", "r2"), fields=("loss", "range")),
    "reconstruction": Task(losses=_REAL_LOSSES, metrics=("auc", "rmse"), fields=("loss", "range")),
    "segmentation": Task(
        values=("logits", "classes"), metrics=("miou", "pixel_accuracy"), fields=("values",), pixels=True
    ),
    "detection": Task(metrics=("map50", "map"), fields=("anchors",), required=("anchors",), pixels=True, moves=False),
    "call": Task(fields=("loss", "metrics", "range"), required=("loss", "metrics")),
}
"""Name of a task -> its choices. The loss and the metrics of `call` are functions of the project."""

_PERCENT = ("top1", "top5", "accuracy", "miou", "pixel_accuracy", "map50", "map")
LARGEST: Mapping[str, int] = {**dict.fromkeys(_PERCENT, 100), "auc": 1, "r2": 1}
"""Metric of a task -> its largest value: 100 of those in percent."""

SPECIAL = ("loss", "values", "anchors", "metrics", "range")
"""The fields of an output that only some tasks have."""


def task_of(name: object) -> Task | None:
    """Returns the task of this name; None for any other value."""
    return TASKS.get(name) if isinstance(name, str) else None


def metrics_of(output: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of an output's metrics, in order; `output` is one of a spec, or any other mapping."""
    if output.get("task") == "call":
        metrics = output.get("metrics")
        return tuple(metrics) if isinstance(metrics, dict) else ()
    task = task_of(output.get("task"))
    return () if task is None else task.metrics
