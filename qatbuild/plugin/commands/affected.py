"""`doit affected --since REF`: the labels whose inputs changed since a git revision, for CI."""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from qatbuild.engine.affected import Side, affected
from qatbuild.engine.code_digest import PACKAGE, Code
from qatbuild.engine.git import Revision
from qatbuild.engine.project import Project
from qatbuild.engine.reason import Reason
from qatbuild.exchange.errors import SpecError
from qatbuild.plugin.commands.command import JSON, SpecCommand, write_json
from qatbuild.plugin.session import Opened

_PINS = (
    "requirements*.txt", "constraints*.txt", "uv.lock", "poetry.lock", "pdm.lock", "pylock*.toml", "Pipfile*",
    "environment*.y*ml", ".python-version",
)  # fmt: skip
"""Files that say which packages are installed: the environment itself is in no revision."""


class Affected(SpecCommand):
    """The labels that have something new to build since a revision."""

    name = "affected"
    doc_purpose = "print the labels whose inputs changed since a git revision"
    doc_usage = "--since REF [LABEL] ..."
    doc_description = (
        "One label a line. Compared are the working tree and the revision: specs and what they extend, data that git"
        " knows, networks and what they import, pinned packages. Comments and layout are no change."
    )
    cmd_options = (
        JSON,
        {"name": "since", "short": "", "long": "since", "type": str, "default": "", "help": "a commit, branch or tag"},
        {"name": "why", "short": "", "long": "why", "type": bool, "default": False, "help": "say what changed, too"},
    )

    def look(self, opened: Opened, options: Any, names: list[str]) -> int:
        """Print the labels; 1 if specs have faults, for these cannot be told."""
        if not options["since"]:
            raise SpecError("A revision is missing.", hint="doit affected --since main")
        revision = Revision(opened.project.root, options["since"])
        found, removed = _compare(opened, revision)
        if names:
            opened.select(names)
            mine = {name.partition(":")[0] for name in opened.plain(names)}
            found = {label: found[label] for label in found if not mine or {label, label.partition("@")[0]} & mine}
        found = {opened.task(label): stages for label, stages in found.items()}
        if options["json"]:
            write_json(
                {
                    "since": options["since"],
                    "commit": revision.commit,
                    "labels": [{"label": label, "stages": _stages(stages)} for label, stages in found.items()],
                    "removed": list(map(opened.task, removed)),
                    "unreadable": sorted(opened.errors),
                }
            )
        else:
            sys.stdout.writelines(_lines(found, why=options["why"]))
        for error in opened.errors.values():
            sys.stderr.write(f"{error.block()}\n")
        return 1 if opened.errors else 0


def _stages(stages: dict[str, list[Reason]]) -> list[dict[str, Any]]:
    return [{"stage": name, "reasons": [reason.to_json() for reason in reasons]} for name, reasons in stages.items()]


def _lines(found: dict[str, dict[str, list[Reason]]], *, why: bool) -> Iterator[str]:
    for label, stages in found.items():
        yield f"{label}\n"
        if why:
            texts = dict.fromkeys(reason.text for reasons in stages.values() for reason in reasons)
            yield from (f"    {text}\n" for text in texts)


def _compare(opened: Opened, revision: Revision) -> tuple[dict[str, dict[str, list[Reason]]], list[str]]:
    """Label -> stage -> reasons of what is affected, and the labels that are there no more."""
    changed = revision.changed()
    if not changed:
        return {}, []
    project = opened.project
    inside = project.root.resolve().relative_to(revision.top.resolve())
    package = PACKAGE.resolve()
    own = package.relative_to(revision.top.resolve()) if package.is_relative_to(revision.top.resolve()) else None
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary).resolve()
        root = top / inside
        places = [os.path.relpath(place, revision.top) for place in (project.root.resolve(), *project.allowed)]
        places += [str(own)] if own else []
        revision.extract(top, lambda path: _reads(path, places))
        root.mkdir(parents=True, exist_ok=True)
        before = Project.at(root)
        plan, _, errors = before.load()
        code = Code(root, package=top / own if own else PACKAGE)
        then = Side(top, plan, set(errors), code, before.threads)
        here = project.root.parents[len(inside.parts) - 1] if inside.parts else project.root
        now = Side(here, opened.plan, set(opened.errors), Code(project.root), project.threads)
        found = affected(then, now, changed, list(_toolchain(root, project.root, inside, changed)))
        removed = sorted(set(plan.labels) - set(opened.plan.labels))
    return found, removed


def _reads(path: PurePosixPath, places: list[str]) -> bool:
    named = path.suffix in {".json", ".py"} or path.name == "pyproject.toml"
    return named and any(place == "." or path.is_relative_to(place) for place in places)


def _toolchain(then: Path, now: Path, inside: Path, changed: set[str]) -> Iterator[Reason]:
    above = {"", *(folder.as_posix() for folder in (inside, *inside.parents))} - {"."}
    for name in sorted(changed):
        path = PurePosixPath(name)
        folder = "" if path.parent == PurePosixPath() else path.parent.as_posix()
        if folder in above and any(path.match(pattern) for pattern in _PINS):
            yield Reason("toolchain", name)
    if _requirements(then / "pyproject.toml") != _requirements(now / "pyproject.toml"):
        yield Reason("toolchain", "dependencies in pyproject.toml")


def _requirements(file: Path) -> list[Any]:
    """What a pyproject.toml says of packages to install."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = {}
    project, tool = document.get("project", {}), document.get("tool", {})
    own = [project.get(name) for name in ("requires-python", "dependencies", "optional-dependencies")]
    return [*own, document.get("dependency-groups"), *(tool.get(name) for name in ("uv", "poetry", "pdm"))]
