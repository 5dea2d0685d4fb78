"""Records of the last runs in a build folder, found by label and stage, wherever the folder lies now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from qatbuild.exchange.published import Record
from qatbuild.exchange.request import Request
from qatbuild.schema.label import route_of


def recorded(path: Path) -> Record | None:
    """Returns the record in a file; None if there is no sound one."""
    try:
        return Record.read(path)
    except (OSError, ValueError):
        return None


def record_of(home: Path, name: str) -> Path | None:
    """Returns the record of a label's stage, given the label's folder; None if it has not run.

    The record of a shared stage is found by following the inputs from the label's own stages.
    """
    folder = home / "deploy" / route if (route := route_of(name)) else home
    record = Request.path_of(folder, name)
    if record.is_file():
        return record
    return next((path for path in _with_inputs(sorted(home.glob("*.request.json"))) if _stage(path) == name), None)


def input_records(path: Path, record: Record) -> dict[str, Path]:
    """Returns role -> path of the records beside the inputs of a record; the folder may have been moved."""
    inputs = record.request.inputs.items()
    return {
        role: Request.path_of(
            Path(os.path.normpath(path.parent / os.path.relpath(each.path.parent, record.request.folder))), role
        )
        for role, each in inputs
    }


def _with_inputs(paths: Iterable[Path]) -> Iterator[Path]:
    """Yields these records and those of their inputs, each once."""
    waiting = list(paths)
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if (record := recorded(path)) is not None:
            yield path
            further = [each for each in input_records(path, record).values() if each not in seen]
            waiting += further
            seen.update(further)


def _stage(record: Path) -> str:
    return record.name.removesuffix(".request.json")
