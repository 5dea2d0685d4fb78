"""report.html and junit.xml of all models, of which those whose reports have not changed are not read again.

What they say of a model is remembered beside the state (size, mtime, ctime, inode) of the model, its report and those
of its routes, and what failed. Without that memory everything is read. Files of which the caller knows that they are
as they were told are not even looked at.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.file_cache import TICK_NS, identity
from qatbuild.exchange.files import write_text
from qatbuild.report import html, junit, markup
from qatbuild.report.failures import Failure
from qatbuild.report.models import MODEL, found

_COLUMN, _CELL = "\x1e", "\x1f"


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


_STATE, _ROW = (_Told._fields.index(name) for name in ("state", "row"))
"""Thousands of them are read and written: as the columns of a table, and as tuples without names."""


def refresh(
    build: Path,
    labels: Mapping[str, Iterable[str]],
    memory: Path,
    failures: Iterable[Failure] = (),
    settled: Container[str] = (),
) -> Path:
    """Write both files; the page's path.

    `labels`: label -> its routes; `memory`: a file for what is remembered; `failures`: what has no result of now;
    `settled`: the specs none of whose files has changed since `memory` was written.
    """
    known, now = _load(memory), time.time_ns()
    failed: dict[str, dict[str, Failure]] = {}
    for failure in failures:
        failed.setdefault(failure.label, {})[failure.key] = failure
    told: list[tuple[str, ...]] = []
    for label, routes in labels.items():
        without, former = failed.get(label, {}), known.get(label)
        if former is not None and former[_STATE] and not without and label.partition("@")[0] in settled:
            told.append(former)
            continue
        state = "" if without else _state(str(build), label, routes, now)
        as_before = former is not None and state and former[_STATE] == state
        told.append(former if former is not None and as_before else _tell(build, label, routes, state, without))
    _, _, rows, sections, suites, *counts = _columns([each for each in told if each[_ROW]])
    path = build / "report.html"
    write_text(path, html.joined(rows, sections))
    write_text(build / "junit.xml", junit.joined(suites, (map(int, column) for column in counts)))
    with contextlib.suppress(OSError):
        write_text(memory, _COLUMN.join([_version(), *map(_CELL.join, _columns(told))]))
    return path


def _tell(build: Path, label: str, routes: Iterable[str], state: str, failed: Mapping[str, Failure]) -> _Told:
    models = found(build, {label: routes}, failed)
    if not models:
        return _Told(label, state)
    row, section = html.piece(models[0])
    suite = junit.suite(models[0])
    return _Told(label, state, row, section, suite.text, *map(str, suite.counts))


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


def _columns(told: Sequence[tuple[str, ...]]) -> Iterable[Sequence[str]]:
    return zip(*told, strict=True) if told else [()] * len(_Told._fields)


def _load(memory: Path) -> dict[str, tuple[str, ...]]:
    try:
        version, *told = memory.read_text(encoding="utf-8").split(_COLUMN)
        if version != _version() or len(told) != len(_Told._fields):
            return {}
        table = [column.split(_CELL) for column in told]
        return dict(zip(table[0], zip(*table, strict=True), strict=True))
    except (OSError, ValueError, TypeError):
        return {}


def _version() -> str:
    """What was told by other code is not what would be told now."""
    files = (__file__, html.__file__, junit.__file__, markup.__file__)
    return "\n".join(identity(Path(file).stat()) for file in files)
