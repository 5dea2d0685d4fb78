"""What there is to report on below a build folder: for each label its report.json, and the route.json of each route.

What failed when it was last tried is no result of now, whatever an earlier build left on the disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.artifact import write_text
from qatbuild.report import failures
from qatbuild.report.failures import Failure


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
        without = failures.of(label, failed or {})
        report = None if "evaluate" in without else _read(build / label / "report.json")
        taken = [name for name in names if f"deploy.{name}" not in without]
        routes = [_read(build / label / "deploy" / name / "route.json") for name in taken]
        if report is not None or without:
            results.append(Found(label, report, tuple(told for told in routes if told is not None), without))
    return results


def with_kept(build: Path, labels: Mapping[str, Iterable[str]], unread: Iterable[str]) -> dict[str, list[str]]:
    """`labels`, and what earlier builds knew of the specs that this one has not read, for they failed in them."""
    path, specs = build / ".qatbuild" / "labels.json", set(unread)
    kept = _read_object(path) or {}
    known = {label: routes for label, routes in kept.items() if label.partition("@")[0] in specs}
    now = known | {label: list(routes) for label, routes in labels.items()}
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
