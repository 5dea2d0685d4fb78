"""Reads the models for the report: for each label its report.json, and the route.json of each route.

Results of stages that failed in their last run are left out. So are results about an earlier model, which remain after
a build of some stages only, and files that are not as their stage published them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.files import file_sha256, read_json, write_text
from qatbuild.exchange.link import Link
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from qatbuild.report import failures
from qatbuild.report.failures import Failure
from qatbuild.report.published_stages import PublishedStages
from qatbuild.schema.label import spec_of, stage_of

MODEL = ("freeze", "convert")
"""The stages whose results are the model itself."""


class ModelReport(NamedTuple):
    """One model's report.json (None without one), its routes' route.json, its failures by stage, and its folder."""

    label: str
    report: dict[str, Any] | None
    routes: tuple[dict[str, Any], ...]
    failures: Mapping[str, Failure]
    home: Path | None = None

    @property
    def gates(self) -> list[tuple[str, dict[str, Any]]]:
        """(route, gate) of all gates; the route is '' for the model's own gates."""
        of_model = [("", gate) for gate in self.report["gates"]] if self.report else []
        return of_model + [(route["route"], gate) for route in self.routes for gate in route["gates"]]

    @property
    def verdict(self) -> str:
        """What failed, which gates refused, and what is stale, in words; '' without a gate or a failure."""
        failed = [stage for stage, each in self.failures.items() if each.block]
        gates = [(f"{where}: {gate['name']}" if where else gate["name"], gate["passed"]) for where, gate in self.gates]
        refused = [name for name, passed in gates if not passed]
        stale = [stage for stage, each in self.failures.items() if each.stale]
        verdicts = (("FAILED", failed), ("REFUSED", refused), ("stale", stale))
        parts = [f"{word}: {', '.join(names)}" for word, names in verdicts if names]
        passed = f"{len(gates)} of {len(gates)} passed" if gates else ""
        return "; ".join(parts) or passed

    @property
    def passed(self) -> bool:
        """Whether the model was evaluated, all its gates passed, and nothing of it failed or is stale."""
        return self.report is not None and not self.failures and all(gate["passed"] for _, gate in self.gates)

    def to_json(self) -> dict[str, Any]:
        """Returns the model as plain data."""
        return {
            "label": self.label,
            "passed": self.passed,
            "verdict": self.verdict,
            "report": self.report,
            "routes": list(self.routes),
            "failures": [
                {"stage": each.stage, "verdict": each.verdict, "error": each.block} for each in self.failures.values()
            ],
        }


def read_models(
    build: Path,
    labels: Mapping[str, Iterable[str]],
    failed: Mapping[str, Failure] | None = None,
    published: PublishedStages | None = None,
) -> list[ModelReport]:
    """Reads the models of these labels, except those without failures and without a readable report."""
    models, published = [], published or PublishedStages()
    for label, names in labels.items():
        planned = list(names)
        without = {**_unsound(build, label, planned, published), **failures.of(label, failed or {})}
        report = None if "evaluate" in without else _read(build / label / "report.json")
        taken = [name for name in planned if stage_of(name) not in without]
        routes = [_read(build / label / "deploy" / name / "route.json") for name in taken]
        if report is not None or without:
            models.append(
                ModelReport(
                    label, report, tuple(route for route in routes if route is not None), without, build / label
                )
            )
    return models


def _unsound(build: Path, label: str, routes: Iterable[str], published: PublishedStages) -> dict[str, Failure]:
    """Returns the stages of a label whose results are about an earlier model, or not as they were published."""
    places = {"evaluate": build / label / "report.json"}
    places |= {stage_of(name): build / label / "deploy" / name / "route.json" for name in routes}
    model = {role: _manifest_sha256(build / label, role, published) for role in MODEL}
    reasons = {stage: _reason(stage, file, model, published) for stage, file in places.items()}
    return {stage: Failure(label, stage, "", stale=reason) for stage, reason in reasons.items() if reason}


def _reason(stage: str, file: Path, model: Mapping[str, str], published: PublishedStages) -> str:
    """Returns why a stage's file must not be shown; '' if it may be, or if the stage was never built.

    `model` are the SHA-256 of the manifests that are the model's now, by stage.
    """
    link = published.link(str(file.parent), stage)
    inputs = _digests(link) if link else _inputs(Request.path_of(file.parent, stage))
    if any(sha256 != model.get(role, sha256) for role, sha256 in inputs):
        return "of an earlier model"
    if _sha256(file) == published.sha256(str(file.parent), stage, file.name):
        return ""
    return f"{file.name} was edited" if file.exists() else f"{file.name} is missing"


def _manifest_sha256(home: Path, stage: str, published: PublishedStages) -> str:
    link = published.link(str(home), stage)
    return link.sha256 if link else _sha256(Manifest.path_of(home, stage))


def _digests(link: Link) -> list[tuple[str, str]]:
    return [(role, each.sha256) for role, each in link.record.request.inputs.items()]


def _inputs(record: Path) -> list[tuple[str, str]]:
    """Returns (role, SHA-256) of a recorded request's inputs; nothing for an unreadable record."""
    try:
        return [(role, sha256) for role, (_, sha256) in (_read_object(record) or {}).get("inputs", {}).items()]
    except (AttributeError, TypeError, ValueError):
        return []


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:
        return ""


def update_labels(file: Path, labels: Mapping[str, Iterable[str]], unknown: Iterable[str]) -> dict[str, list[str]]:
    """Adds to `labels` those of the `unknown` specs in `file`, which this build did not load; writes and returns them.

    The labels are in the order of their specs, whichever specs this build loaded.
    """
    before, specs = _read_object(file) or {}, set(unknown)
    kept = {
        label: list(map(str, routes))
        for label, routes in before.items()
        if spec_of(label) in specs and isinstance(routes, list)
    }
    merged = kept | {label: list(routes) for label, routes in labels.items()}
    ordered = dict(sorted(merged.items(), key=lambda item: spec_of(item[0])))
    if ordered != before:
        with contextlib.suppress(OSError):  # It is a shortcut; a page that cannot be written is reported.
            write_text(file, json.dumps(ordered) + "\n")
    return ordered


def _read(path: Path) -> dict[str, Any] | None:
    value = _read_object(path)
    return value if value is not None and "gates" in value else None


def _read_object(path: Path) -> dict[str, Any] | None:
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
