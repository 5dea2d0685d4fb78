"""What there is to report on below a build folder: for each label its report.json, and the route.json of each route."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Found:
    """One model that was evaluated, and the routes that were taken with it."""

    label: str
    report: dict[str, Any]
    routes: tuple[dict[str, Any], ...]

    @property
    def gates(self) -> list[tuple[str, dict[str, Any]]]:
        """All gates: (where, gate), where is '' for the model's own and the route's name for the others."""
        own = [("", gate) for gate in self.report["gates"]]
        return own + [(told["route"], gate) for told in self.routes for gate in told["gates"]]


def found(build: Path, labels: Mapping[str, Iterable[str]]) -> list[Found]:
    """The models of these labels that have a report which can be read. `labels`: label -> its routes."""
    results = []
    for label, names in labels.items():
        report = _read(build / label / "report.json")
        routes = [_read(build / label / "deploy" / name / "route.json") for name in names]
        if report is not None:
            results.append(Found(label, report, tuple(told for told in routes if told is not None)))
    return results


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and "gates" in value else None
