"""`doit report`: writes what is known of built models for people, merge requests, spreadsheets and other tools."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qatbuild.engine.git import Revision, Span
from qatbuild.engine.whole_spec import whole_spec
from qatbuild.exchange.errors import ArtifactError, SpecError
from qatbuild.exchange.files import write_text
from qatbuild.plugin.commands.command import SpecCommand, write_unreadable
from qatbuild.plugin.commands.diff import rows_of, times_of
from qatbuild.plugin.commands.option import OUTPUT, flag, format_option, option
from qatbuild.plugin.commands.output import Output, regular
from qatbuild.plugin.commands.results import built
from qatbuild.plugin.session import Session
from qatbuild.report import mlflow_runs, page
from qatbuild.report.comment import Times, comment
from qatbuild.report.comparison import Model, difference
from qatbuild.report.junit import junit
from qatbuild.report.merge_request import markdown
from qatbuild.report.model_explorer import node_data
from qatbuild.report.models import ModelReport
from qatbuild.report.page.document import Changes
from qatbuild.report.spreadsheet import as_csv

_FORMATS = {
    "html": "the page of models",
    "json": "for scripts",
    "markdown": "for a merge request",
    "junit": "gates as test cases",
    "csv": "a row for each model",
    "model-explorer": "node data of the layers, a file for each figure",
    "mlflow": "runs of MLflow",
}
_COMPARED = ("html", "json", "markdown")
_PAIR = 2


class Report(SpecCommand):
    """Writes the results of models in one of several formats."""

    name = "report"
    doc_purpose = "write the results of built models as a page, JSON, Markdown, JUnit or CSV, or for other tools"
    doc_usage = "[--format FORMAT] [-o PATH] [--since REF] [LABEL] ... | --compare A B"
    doc_description = (
        "Without a label, write all models that were built. Only what is as it was built is written. JSON, Markdown,"
        " JUnit and CSV go to stdout unless -o names a file; the page goes to build/report.html, that of some models"
        " to build/selection.html, that of two beside each other to build/comparison.html, with --since to"
        " build/changes.html. Model Explorer's files need a folder, and MLflow's runs a folder or the URI of a server."
        " Nothing is built."
    )
    cmd_options = (
        format_option(_FORMATS, "language"),
        OUTPUT,
        flag("compare", "write what differs between the two labels (html, json, markdown)"),
        option("since", "", "also show what changed since a commit, branch or tag (html)"),
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Writes the report; returns 1 if specs with faults are left out."""
        language, output = options["format"], Output(self.started_in, options["output"])
        if options["since"] and (language != "html" or options["compare"]):
            facts = [("since", options["since"]), ("format", language)]
            raise SpecError("--since is for the page of models.", facts, "doit diff REF --format markdown")
        if options["compare"]:
            _write_comparison(session, language, output, names)
        elif language == "html":
            _write_page(session, output, names, _changes(session, options["since"]))
        elif language == "model-explorer":
            _write_node_data(built(session, names), output)
        elif language == "mlflow":
            _write_runs(session, names, output)
        else:
            output.write(_TEXTS[language](built(session, names), session.unreadable(names)))
        return write_unreadable(session, names)


def _as_json(models: Sequence[ModelReport], unreadable: Sequence[str]) -> str:
    return _json({"models": [model.to_json() for model in models], "unreadable": unreadable})


_TEXTS: Mapping[str, Callable[[Sequence[ModelReport], Sequence[str]], str]] = {
    "json": _as_json,
    "markdown": lambda models, _: markdown(models),
    "junit": lambda models, _: junit(models),
    "csv": lambda models, _: as_csv(models),
}


def _write_page(session: Session, output: Output, names: Sequence[str], changes: Changes | None) -> None:
    name = "changes" if changes else "selection" if names else "report"
    file = output.file(session.project.build / f"{name}.html")
    page.write(file, built(session, names), changes=changes)
    output.say(file)


def _changes(session: Session, since: str) -> Changes | None:
    """Returns what changed since a git revision; None without one."""
    if not since:
        return None
    span = Span(Revision(session.project.root, since))
    return Changes(*times_of(span), rows_of(session, span))


def _write_comparison(session: Session, language: str, output: Output, names: Sequence[str]) -> None:
    labels = session.labels(names) if names else []
    if language not in _COMPARED or len(labels) != _PAIR:
        raise _no_pair(session, language, labels)
    former, now = models = built(session, names)
    if language == "html":
        file = output.file(session.project.build / "comparison.html")
        page.write(file, models, compare=(former.label, now.label))
        output.say(file)
        return
    before, after = (Model.of(model, _spec(session, label)) for model, label in zip(models, labels, strict=True))
    row = difference(now.label, before, after, ())  # As if it were the same model at a later time.
    if language == "json":
        output.write(_json({"labels": [former.label, now.label], "difference": row.to_json()}))
    else:
        output.write(comment(Times(former.label, now.label), [row]))


def _no_pair(session: Session, language: str, labels: Sequence[str]) -> SpecError:
    facts = [("format", language), ("labels", ", ".join(map(session.task, labels)) or "none")]
    pair = list(map(session.task, dict.fromkeys([*labels, *session.plan.labels])))[:_PAIR]
    message = f"--compare needs two models, and one of the formats {', '.join(_COMPARED)}."
    return SpecError(message, facts, f"doit report --compare {' '.join(pair)}" if len(pair) == _PAIR else "")


def _spec(session: Session, label: str) -> dict[str, Any]:
    root = session.project.root
    return whole_spec(session.plan, label, lambda source: Path(os.path.relpath(source, root)).as_posix())


def _write_node_data(models: Sequence[ModelReport], output: Output) -> None:
    """Writes LABEL/MEASURE.json for each model and measure, and prints the paths."""
    folder = Path(output.destination("model-explorer"))
    data = {
        folder / model.label / f"{name}.json": fields
        for model in models
        for name, fields in node_data(model.report or {})
    }
    if not data:
        labels = [("label", model.label) for model in models]
        raise ArtifactError("No model has a report with layers.", labels, f"doit {models[0].label}")
    for path, fields in data.items():
        write_text(regular(path), _json(fields))
        output.say(path)


def _write_runs(session: Session, names: Sequence[str], output: Output) -> None:
    """Writes the models that were evaluated as runs, and prints which are new."""
    destination, build = output.destination("mlflow"), session.project.build
    runs = [
        mlflow_runs.Run(model, _spec(session, label), build / label / "report.json")
        for model in built(session, names)
        for label in [session.within(model.label)]
        if model.report is not None
    ]
    new = mlflow_runs.write(runs, destination, os.environ.get("MLFLOW_EXPERIMENT_NAME", session.project.root.name))
    sys.stdout.writelines(f"{label}\n" for label in new)
    sys.stdout.write(f"{len(new)} runs written, {len(runs) - len(new)} were there\n")


def _json(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"
