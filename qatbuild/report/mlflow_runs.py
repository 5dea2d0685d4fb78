"""Writes models as runs of MLflow: into a folder (MLflow's file store), or to a tracking server.

The import of MLflow is the only one of this half that loads NumPy, and it waits until runs are asked for.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.errors import ArtifactError, printable
from qatbuild.exchange.files import canonical_json
from qatbuild.report.comparison import Model, Summary
from qatbuild.report.metrics import FORMS
from qatbuild.report.models import ModelReport
from qatbuild.report.page.stages import history
from qatbuild.report.published_stages import PublishedStages

_ENVIRONMENT = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # From 3.13 on MLflow refuses its file store otherwise.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # Its own 7, ever longer apart, are minutes.
}
"""Settings of MLflow, unless the user has set them."""

_RESULT = "qatbuild.result"
"""The tag with the digest of what a run holds, by which it is found again."""

_LONGEST_VALUE = 500


class Point(NamedTuple):
    """A figure at a step of a training."""

    name: str
    step: int
    value: float


class Run(NamedTuple):
    """What a run holds of a model: `spec` is its whole spec, `file` its report.json."""

    model: ModelReport
    spec: Mapping[str, Any]
    file: Path

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by name: top1.tflite, agreement_percent, bytes, latency_ms, gates_refused."""
        summary = Summary.of(Model.of(self.model, {}))
        figures = {f"{name}.{form}": each.get(form) for name, each in summary.metrics.items() for form in FORMS}
        figures |= {name: getattr(summary, name) for name in ("agreement_percent", "bytes", "latency_ms")}
        figures["gates_refused"] = sum(not gate.passed for gate in summary.gates)
        return {_key(name): float(value) for name, value in figures.items() if value is not None}

    @property
    def curves(self) -> list[Point]:
        """What the trainings went through: float.loss, quantize.learning_rate, float.validation_top1, by step."""
        home = self.model.home
        stages = history(home, PublishedStages()).curves if home else ()
        return [point for stage, training in stages for point in _points(stage, training)]

    @property
    def parameters(self) -> dict[str, str]:
        """The fields of the spec by path: train.learning_rate.initial."""
        return {_key(path): printable(value, _LONGEST_VALUE) for path, value in _flat(self.spec, "")}

    @property
    def tags(self) -> dict[str, str]:
        """The label, whether all gates passed, and the digest of the run."""
        content = canonical_json([self.model.to_json(), self.spec, self.curves])
        return {
            "qatbuild.label": self.model.label,
            "qatbuild.passed": str(self.model.passed).lower(),
            _RESULT: hashlib.sha256(content.encode()).hexdigest(),
        }


def write(runs: Iterable[Run], destination: str, experiment: str) -> list[str]:
    """Writes those runs that are not there yet, and returns their labels.

    `destination` is a folder, or a tracking URI with "://". A run that was interrupted is written anew.
    ArtifactError if MLflow is not installed, or cannot write.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415  An extra, and slow to import.
        from mlflow.tracking import MlflowClient  # noqa: PLC0415
    except ImportError as fault:
        raise ArtifactError("MLflow is not installed.", [("why", fault)], "pip install 'qatbuild[mlflow]'") from fault
    uri = destination if "://" in destination else Path(destination).resolve().as_uri()
    try:
        client = MlflowClient(uri)
        id_ = _experiment(client, experiment)
        return [run.model.label for run in runs if _write(client, id_, run)]
    except (MlflowException, ImportError) as fault:
        facts = [("to", destination), ("why", fault)]
        hint = "name a folder, or the URI of a tracking server that answers"
        raise ArtifactError("MLflow cannot write the runs.", facts, hint) from fault


def _experiment(client: Any, name: str) -> str:
    present = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if present is None else present.experiment_id)


def _write(client: Any, experiment: str, run: Run) -> bool:
    """Writes a run; returns False if a finished one holds the same."""
    from mlflow.entities import Metric, Param  # noqa: PLC0415

    tags = run.tags
    same = client.search_runs([experiment], f"tags.`{_RESULT}` = '{tags[_RESULT]}'")
    if any(each.info.status == "FINISHED" for each in same):
        return False
    for each in same:
        client.delete_run(each.info.run_id)
    info = client.create_run(experiment, run_name=run.model.label, tags=tags).info
    metrics = [Metric(name, value, info.start_time, 0) for name, value in run.metrics.items()]
    metrics += [Metric(point.name, point.value, info.start_time, point.step) for point in run.curves]
    parameters = [Param(name, value) for name, value in run.parameters.items()]
    client.log_batch(info.run_id, metrics=metrics, params=parameters)
    client.log_artifact(info.run_id, str(run.file))
    client.set_terminated(info.run_id)
    return True


def _points(stage: str, training: Mapping[str, Any]) -> Iterator[Point]:
    """Yields the points of a stage's curve and of its validation."""
    curve = training.get("curve", {})
    for name in ("loss", "learning_rate"):
        for step, value in zip(curve.get("step", ()), curve.get(name, ()), strict=False):
            yield Point(f"{stage}.{name}", int(step), float(value))
    name = _key(f"{stage}.validation_{training.get('metric', 'metric')}")
    for step, value in sorted(training.get("validation", {}).items(), key=lambda row: int(row[0])):
        yield Point(name, int(step), float(value))


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yields the path and the text of each field of a spec that is set."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    elif value is not None:
        yield path, value if isinstance(value, str) else canonical_json(value)


def _key(name: str) -> str:
    """Returns a name of the characters that MLflow allows."""
    return re.sub(r"[^\w\-. /]", "_", name)
