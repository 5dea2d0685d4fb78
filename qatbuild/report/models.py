"""What there is to report on below a build folder: for each label its report.json, and the route.json of each route.

What failed when it was last tried is no result of now, whatever an earlier build left on the disk. Nor is what was said
of another model than the one that is there, which a build of some stages leaves behind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.engine.plan import DEPLOY
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from qatbuild.report import failures
from qatbuild.report.failures import Failure

MODEL = ("freeze", "convert")
"""The stages whose results are the model that others judge."""


class Found(NamedTuple):
    """One model, the routes that were taken with it, and what failed, by stage. `report` is None if there is none."""

    label: str
    report: dict[str, Any] | None
    routes: tuple[dict[str, Any], ...]
    failures: Mapping[str, Failure]

    @property
    def gates(self) -> list[tuple[str, dict[str, Any]]]:
        """All gates: (where, gate), where is '' for the model's own and the route's name for the others."""
        own = [("", gate) for gate in self.report["gates"]] if self.report else []
        return own + [(told["route"], gate) for told in self.routes for gate in told["gates"]]


def found(build: Path, labels: Mapping[str, Iterable[str]], failed: Mapping[str, Failure] | None = None) -> list[Found]:
    """The models of these labels that failed, or have a report that can be read. `labels`: label -> its routes."""
    results = []
    for label, names in labels.items():
        known = list(names)
        without = {**_outdated(build, label, known), **failures.of(label, failed or {})}
        report = None if "evaluate" in without else _read(build / label / "report.json")
        taken = [name for name in known if f"deploy.{name}" not in without]
        routes = [_read(build / label / "deploy" / name / "route.json") for name in taken]
        if report is not None or without:
            results.append(Found(label, report, tuple(told for told in routes if told is not None), without))
    return results


def _outdated(build: Path, label: str, routes: Iterable[str]) -> dict[str, Failure]:
    """The stages of a label whose request was about another model than the one that is there."""
    places = {"evaluate": build / label} | {f"{DEPLOY}{name}": build / label / "deploy" / name for name in routes}
    now = {role: _sha256(Manifest.path_of(build / label, role)) for role in MODEL}
    return {
        stage: Failure(label, stage, "", stale=True)
        for stage, folder in places.items()
        if any(given != now.get(role, given) for role, given in _inputs(Request.path_of(folder, stage)))
    }


def _inputs(record: Path) -> list[tuple[str, str]]:
    """Role and digest of what a stage was given; nothing if that is not known."""
    try:
        return [(role, sha256) for role, (_, sha256) in (_read_object(record) or {}).get("inputs", {}).items()]
    except (AttributeError, TypeError, ValueError):
        return []


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def with_kept(build: Path, labels: Mapping[str, Iterable[str]], unread: Iterable[str]) -> dict[str, list[str]]:
    """`labels`, and what earlier builds knew of the specs that this one has not read, for they failed in them.

    They are in the order of their specs, whichever of these a build happened to load.
    """
    path, specs = build / ".qatbuild" / "labels.json", set(unread)
    kept = _read_object(path) or {}
    known = {label: routes for label, routes in kept.items() if label.partition("@")[0] in specs}
    told = known | {label: list(routes) for label, routes in labels.items()}
    now = dict(sorted(told.items(), key=lambda item: item[0].partition("@")[0]))
    if now != kept:
        write_text(path, json.dumps(now) + "\n")
    return now


def _read(path: Path) -> dict[str, Any] | None:
    value = _read_object(path)
    return value if value is not None and "gates" in value else None


def _read_object(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
