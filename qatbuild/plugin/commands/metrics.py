"""`doit metrics`: prints the metrics of built models: float, fake-quantized and .tflite, with bytes and latency."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from qatbuild.engine.status import State
from qatbuild.plugin.commands.command import SpecCommand, write_json, write_unreadable
from qatbuild.plugin.commands.option import JSON
from qatbuild.plugin.commands.results import renamed, results
from qatbuild.plugin.commands.status import status_of
from qatbuild.plugin.session import Session
from qatbuild.report.comparison import Model, Summary
from qatbuild.report.models import ModelReport
from qatbuild.report.table import aligned

_HEAD = ("model", "metric", "float", "fake-quant", ".tflite", "agreement %", "bytes", "ms", "state", "gates")
_LEFT = {0, 1, 8, 9}


class _Row(NamedTuple):
    """A model, its state, and its verified figures."""

    model: ModelReport
    state: State
    summary: Summary

    def to_json(self) -> dict[str, Any]:
        """Returns the row as plain data."""
        figures = {name: value for name, value in self.summary.to_json().items() if name != "unlike"}
        return {"label": self.model.label, "state": self.state, "verdict": self.model.verdict, **figures}


class Metrics(SpecCommand):
    """Prints the metrics of labels."""

    name = "metrics"
    doc_purpose = "print the metrics, bytes and latency of built models"
    doc_usage = "[--json] [LABEL] ..."
    doc_description = (
        "Without a label, print those of all models. Only what is as it was built is printed; a stale state says that"
        " it is of an earlier spec, code or data. Nothing is built."
    )
    cmd_options = (JSON,)

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the metrics; returns 1 if a named model has none, or if specs with faults are left out."""
        rows = list(_rows(session, names))
        if options["json"]:
            write_json({"labels": [row.to_json() for row in rows], "unreadable": session.unreadable(names)})
        else:
            sys.stdout.writelines(f"{line}\n" for line in _lines(rows))
        lacks = bool(names) and any(row.model.report is None for row in rows)
        return write_unreadable(session, names) or int(lacks)


def _rows(session: Session, names: list[str]) -> Iterator[_Row]:
    states = {row.label: row.state for row in status_of(session, names)}
    for model in results(session, states):
        named = renamed(session, model)
        yield _Row(named, states[model.label], Summary.of(Model.of(named, {})))


def _lines(rows: Iterable[_Row]) -> list[str]:
    """Returns a table with a row for each metric of each model."""
    return aligned([_HEAD, *(cells for row in rows for cells in _cells(row))], _LEFT)


def _cells(row: _Row) -> Iterator[tuple[str, ...]]:
    """Yields the cells of a model's first metric with everything else, then those of its other metrics."""
    yield (row.model.label, *row.summary.cells, row.state, row.model.verdict)
    for each in list(row.summary.texts.values())[1:]:
        yield ("", each.name, *each.texts, "", "", "", "", "")
