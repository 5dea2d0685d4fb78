"""All models as CSV (RFC 4180), a row for each model, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from qatbuild.report import metrics
from qatbuild.report.comparison import Model, Summary
from qatbuild.report.metrics import FORMS
from qatbuild.report.models import ModelReport

COLUMNS = ("label", "passed", "verdict", "agreement_percent", "max_lsb", "bytes", "ratio", "latency_ms")
"""The columns of every file; those of the metrics follow: NAME.float, NAME.fake_quant, NAME.tflite."""


def as_csv(models: Sequence[ModelReport]) -> str:
    """Returns the text of the file. A figure that a model does not have is an empty cell."""
    figures = [metrics.figures_of(model.report) if model.report else {} for model in models]
    names = dict.fromkeys(name for each in figures for name in each)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, *(f"{name}.{form}" for name in names for form in FORMS)])
    for model, measured in zip(models, figures, strict=True):
        writer.writerow([*_cells(model), *(measured.get(name, {}).get(form) for name in names for form in FORMS)])
    return text.getvalue()


def _cells(model: ModelReport) -> tuple[Any, ...]:
    """Returns the cells of COLUMNS."""
    report = model.report or {}
    summary = Summary.of(Model.of(model, {}))
    return (
        model.label,
        "true" if model.passed else "false",
        model.verdict or "; ".join(summary.missing),
        summary.agreement_percent,
        report.get("agreement", {}).get("max_lsb"),
        summary.bytes,
        report.get("bytes", {}).get("ratio"),
        summary.latency_ms,
    )
