"""report.html and junit.xml of all models, of which those whose reports have not changed are not read again.

What they say of a model is remembered beside the state (size, mtime, ctime, inode) of the model, its report and those
of its routes, and what failed. Without that memory everything is read.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from qatbuild.artifact import write_text
from qatbuild.memory import TICK_NS, identity
from qatbuild.report import html, junit, markup
from qatbuild.report.failures import Failure
from qatbuild.report.found import MODEL, found

_RECORD, _FIELD = "\x1e", "\x1f"


class _Told(NamedTuple):
    """What is said of one model; without a row, nothing."""

    label: str
    state: str
    row: str = ""
    section: str = ""
    suite: str = ""
    tests: str = "0"
    failures: str = "0"
    errors: str = "0"
    skipped: str = "0"


def refresh(build: Path, labels: Mapping[str, Iterable[str]], memory: Path, failures: Iterable[Failure] = ()) -> Path:
    """Write both files; the page's path.

    `labels`: label -> its routes; `memory`: a file for what is remembered; `failures`: what has no result of now.
    """
    known, now = _load(memory), time.time_ns()
    failed: dict[str, dict[str, Failure]] = {}
    for failure in failures:
        failed.setdefault(failure.label, {})[failure.key] = failure
    told = []
    for label, routes in labels.items():
        without = failed.get(label, {})
        state = "" if without else _state(str(build), label, routes, now)
        former = known.get(label)
        as_before = former is not None and state and former.state == state
        told.append(former if former is not None and as_before else _tell(build, label, routes, state, without))
    shown = [each for each in told if each.row]
    path = build / "report.html"
    write_text(path, html.joined([(each.row, each.section) for each in shown]))
    suites = [
        junit.Suite(each.suite, *map(int, (each.tests, each.failures, each.errors, each.skipped))) for each in shown
    ]
    write_text(build / "junit.xml", junit.joined(suites))
    with contextlib.suppress(OSError):
        write_text(memory, _RECORD.join([_version(), *map(_FIELD.join, told)]))
    return path


def _tell(build: Path, label: str, routes: Iterable[str], state: str, failed: Mapping[str, Failure]) -> _Told:
    models = found(build, {label: routes}, failed)
    if not models:
        return _Told(label, state)
    row, section = html.piece(models[0])
    suite = junit.suite(models[0])
    counts = (suite.tests, suite.failures, suite.errors, suite.skipped)
    return _Told(label, state, row, section, suite.text, *map(str, counts))


def _state(build: str, label: str, routes: Iterable[str], now: int) -> str:
    """The state of a model's reports; empty if one of them changed so lately that a second change would not show."""
    files = [
        f"{build}/{label}/report.json",
        *(f"{build}/{label}/{name}.manifest.json" for name in MODEL),
        *(f"{build}/{label}/deploy/{name}/route.json" for name in routes),
    ]
    parts = []
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116  Thousands of them.
        except OSError:
            parts.append(f"{file} -")
            continue
        if now - status.st_ctime_ns <= TICK_NS:
            return ""
        parts.append(f"{file} {identity(status)}")
    return "\n".join(parts)


def _load(memory: Path) -> dict[str, _Told]:
    try:
        version, *records = memory.read_text(encoding="utf-8").split(_RECORD)
        if version != _version():
            return {}
        return {told.label: told for told in (_Told(*record.split(_FIELD)) for record in records)}
    except (OSError, ValueError, TypeError):
        return {}


def _version() -> str:
    """What was told by other code is not what would be told now."""
    return "\n".join(identity(Path(module.__file__).stat()) for module in (html, junit, markup) if module.__file__)
