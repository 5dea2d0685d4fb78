"""What a stage opened without having declared it: an input that no request knows of, so that its change is not seen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from qatbuild.engine.plan import Stage
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.exchange.request import Request


@dataclass(frozen=True)
class Witnessed:
    """The files, relative to the project, that a stage opened and did not declare; None where it has not run here."""

    stage: Stage
    files: tuple[str, ...] | None


def undeclared(rebuilder: Rebuilder, stage: Stage) -> Witnessed:
    """What the last run of a stage opened besides its sources, its code and what other stages left."""
    folder = rebuilder.folder(stage)
    try:
        ran = json.loads((folder / f"{stage.name}.run.json").read_text(encoding="utf-8"))
        record = Request.from_json(Request.path_of(folder, stage.name).read_text(encoding="utf-8"))
        opened = ran["opened"] if ran["key"] == record.key else None
    except (OSError, ValueError, KeyError, TypeError):
        opened = None
    if opened is None:  # What is there came from the store.
        return Witnessed(stage, None)
    code = {file for _, file, _ in rebuilder.code.closure(stage.modules)}
    sources = [Path(path) for path in stage.sources.values()]
    files = ((name, rebuilder.project / name) for name in opened)
    return Witnessed(
        stage,
        tuple(name for name, path in files if path not in code and not any(_holds(each, path) for each in sources)),
    )


def _holds(source: Path, path: Path) -> bool:
    """Whether a path is a source, lies in it, or is a part of a checkpoint that it names by its prefix."""
    return path.is_relative_to(source) or (path.parent == source.parent and path.name.startswith(f"{source.name}."))
