"""Finds files that a stage opened without declaring them: their changes would go unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.plan import Stage
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.engine.source import holds
from qatbuild.exchange.files import file_sha256, read_json
from qatbuild.exchange.published import Record, run_path
from qatbuild.exchange.request import Request


class UndeclaredInputs(NamedTuple):
    """The undeclared files of one stage, relative to the project; None if the stage has not run here."""

    stage: Stage
    files: tuple[str, ...] | None


def undeclared_inputs(rebuilder: Rebuilder, stage: Stage) -> UndeclaredInputs:
    """Returns the files that the stage's last run opened, without its sources, its code and other stages' artifacts."""
    folder = rebuilder.place(stage).folder
    try:
        file = run_path(folder, stage.name)
        record = Record.read(Request.path_of(folder, stage.name))
        ran = read_json(file)
        is_of_this_run = ran["key"] == record.request.key and file_sha256(file) == record.ran
        opened = [str(name) for name in ran["opened"]] if is_of_this_run else None
    except (OSError, ValueError, KeyError, TypeError):
        opened = None
    if opened is None:  # The artifacts came from the store, or the file is not the run's.
        return UndeclaredInputs(stage, None)
    code = {file for _, file, _ in rebuilder.code.closure(stage.modules)}
    sources = [Path(source).as_posix() for source in stage.sources.values()]
    files = ((name, rebuilder.project / name) for name in opened)
    undeclared = (
        name
        for name, path in files
        if path not in code and not any(holds(source, path.as_posix()) for source in sources)
    )
    return UndeclaredInputs(stage, tuple(undeclared))
