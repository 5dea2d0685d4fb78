"""The metrics of a report.json, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

FORMS = ("float", "fake_quant", "tflite")

_DIGITS = 4
_NO_FIGURE = "-"


class Metric(NamedTuple):
    """A metric of a model: its name, '' of a model without one, and the figures of FORMS as texts."""

    name: str
    texts: tuple[str, ...]

    @property
    def is_top1(self) -> bool:
        """Whether it is the top-1 of a model that only classifies."""
        return self.name == "top1"

    @property
    def title(self) -> str:
        """The name for a table."""
        return self.name or _NO_FIGURE


def of(report: Mapping[str, Any]) -> list[Metric]:
    """Returns all metrics of a report, in words."""
    return [Metric(name, tuple(_text(each, form) for form in FORMS)) for name, each in figures_of(report).items()]


def figures_of(report: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Returns the figures of all metrics of a report by name; reports of version 0.1 have `top1` only."""
    metrics: Mapping[str, Mapping[str, Any]] | None = report.get("metrics")
    return {"top1": {**report["top1"], "percent": True}} if metrics is None else metrics


def first(report: Mapping[str, Any]) -> Metric:
    """Returns the metric that stands for the model; one without figures if the model has none."""
    return next(iter(of(report)), Metric("", (_NO_FIGURE,) * len(FORMS)))


def percent(value: float | None) -> str:
    """Returns a percentage; a stroke for None."""
    return _NO_FIGURE if value is None else f"{value:.2f}"


def _text(figures: Mapping[str, Any], form: str) -> str:
    value = figures[form]
    return f"{value:.2f}" if figures.get("percent") else f"{value:.{_DIGITS}g}"
