"""Rebuilds a model in a scratch folder, without any kept result, and compares it stage by stage with the built one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.engine.build import build
from qatbuild.engine.execute import Executor
from qatbuild.engine.outcome import shown
from qatbuild.engine.papers.chain import read_chain
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import StageError
from qatbuild.exchange.files import make_folder
from qatbuild.exchange.link import Link


class Difference(NamedTuple):
    """The first difference of a rebuilt model: the stage, the file of it ('' for its facts), and what differs in it.

    `tensor` names the first tensor that differs, or else the place in the file; `values` says how.
    """

    stage: str
    file: str
    tensor: str
    values: str


class Reproduced(NamedTuple):
    """The stages with equal bytes, in order; the later ones that differ; and the first difference of all."""

    label: str
    equal: tuple[str, ...]
    different: tuple[str, ...]
    first: Difference | None


def reproduce(
    project: Project, label: str, scratch: Path, executor: Executor, say: Callable[[str], object]
) -> Reproduced:
    """Builds a label anew below the folder `scratch` and compares it with what lies in the project's build folder.

    Fetched data are those of the project: they are inputs, which their stage verifies. `executor` is left running.
    ArtifactError if the label is not built, StageError if a stage of the rebuild fails.
    """
    built = read_chain(label, project.build / label)
    again = replace(project, build=scratch, store=None, cache=None)
    make_folder(again.state.path)
    if (downloads := project.build / "downloads").is_dir():
        (scratch / "downloads").symlink_to(downloads)
    result = build(again, [label], executor=executor, keep_going=False, say=say)
    for row in result.outcomes.rows:
        if row.error:
            facts = [("stage", shown(row.stage)), ("error", row.error.splitlines()[0])]
            raise StageError(f"{label} cannot be rebuilt: a stage failed.", facts)
    rebuilt = read_chain(label, scratch / label)
    pairs = [(link, rebuilt.links[stage]) for stage, link in built.links.items() if stage in rebuilt.links]
    equal = tuple(one.stage for one, other in pairs if one.text == other.text)
    different = [(one, other) for one, other in pairs if one.text != other.text]
    first = _difference(*different[0]) if different else None
    return Reproduced(label, equal, tuple(one.stage for one, _ in different), first)


def _difference(built: Link, rebuilt: Link) -> Difference:
    """Returns the first difference of a stage: of a file, or else of its facts."""
    for name in sorted(built.manifest.files.keys() | rebuilt.manifest.files.keys()):
        if built.manifest.files.get(name) != rebuilt.manifest.files.get(name):
            inside = _tensor(built.folder / name, rebuilt.folder / name)
            return Difference(built.stage, name, inside["tensor"], inside["values"])
    place, values = next(_facts("", built.manifest.facts, rebuilt.manifest.facts), ("", ""))
    return Difference(built.stage, "", place, values)


def _tensor(built: Path, rebuilt: Path) -> dict[str, str]:
    """Asks a worker for the first tensor that differs: TensorFlow's files are read in a process of their own."""
    command = [sys.executable, "-m", "qatbuild.worker.difference", str(built), str(rebuilt)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        said: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return {"tensor": "", "values": "the files cannot be compared by their tensors"}
    return said


def _facts(path: str, built: Any, rebuilt: Any) -> Iterator[tuple[str, str]]:
    """Yields (JSON pointer, values) of each fact that differs."""
    if isinstance(built, dict) and isinstance(rebuilt, dict):
        for name in sorted(built.keys() | rebuilt.keys()):
            yield from _facts(f"{path}/{name}", built.get(name), rebuilt.get(name))
    elif isinstance(built, list) and isinstance(rebuilt, list) and len(built) == len(rebuilt):
        for number, (one, other) in enumerate(zip(built, rebuilt, strict=True)):
            yield from _facts(f"{path}/{number}", one, other)
    elif built != rebuilt:
        yield path, f"{json.dumps(built)} and {json.dumps(rebuilt)}"
