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
from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.project import Everything, Project
from qatbuild.engine.reason import Reason
from qatbuild.exchange.errors import SpecError
from qatbuild.plugin.commands.command import JSON, SpecCommand, write_json
from qatbuild.plugin.session import Session
from qatbuild.schema.label import Label, spec_of

_PINS = (
    "requirements*.txt", "constraints*.txt", "uv.lock", "poetry.lock", "pdm.lock", "pylock*.toml", "Pipfile*",
    "environment*.y*ml", ".python-version",
)  # fmt: skip
"""Files that pin packages. They represent the installed packages, which git does not contain."""


class Affected(SpecCommand):
    """Prints the labels whose inputs changed since a revision."""

    name = "affected"
    doc_purpose = "print the labels whose inputs changed since a git revision"
    doc_usage = "--since REF [LABEL] ..."
    doc_description = (
        "Print one label per line. The working tree is compared with the revision: specs and their bases, data in git,"
        " networks and their imports, pinned packages. Comments and formatting are ignored."
    )
    cmd_options = (
        JSON,
        {"name": "since", "short": "", "long": "since", "type": str, "default": "", "help": "a commit, branch or tag"},
        {"name": "why", "short": "", "long": "why", "type": bool, "default": False, "help": "also print the reasons"},
    )

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the labels; returns 1 if specs have faults, because they cannot be compared."""
        if not options["since"]:
            raise SpecError("The option --since is missing.", hint="doit affected --since main")
        revision = Revision(session.project.root, options["since"])
        labels, removed = _compare(session, revision)
        if names:
            session.select(names)
            mine = {Label.parse(name).name for name in session.without_prefix(names)}
            labels = {label: labels[label] for label in labels if not mine or {label, spec_of(label)} & mine}
        labels = {session.task(label): stages for label, stages in labels.items()}
        if options["json"]:
            write_json(
                {
                    "since": options["since"],
                    "commit": revision.commit,
                    "labels": [{"label": label, "stages": _stages(stages)} for label, stages in labels.items()],
                    "removed": list(map(session.task, removed)),
                    "unreadable": sorted(session.errors),
                }
            )
        else:
            sys.stdout.writelines(_lines(labels, why=options["why"]))
        for error in session.errors.values():
            sys.stderr.write(f"{error.block()}\n")
        return 1 if session.errors else 0


def _stages(stages: dict[str, list[Reason]]) -> list[dict[str, Any]]:
    return [{"stage": name, "reasons": [reason.to_json() for reason in reasons]} for name, reasons in stages.items()]


def _lines(labels: dict[str, dict[str, list[Reason]]], *, why: bool) -> Iterator[str]:
    for label, stages in labels.items():
        yield f"{label}\n"
        if why:
            texts = dict.fromkeys(reason.text for reasons in stages.values() for reason in reasons)
            yield from (f"    {text}\n" for text in texts)


def _compare(session: Session, revision: Revision) -> tuple[dict[str, dict[str, list[Reason]]], list[str]]:
    """Returns label -> stage -> reasons of the affected labels, and the labels that were removed."""
    if not revision.changed:
        return {}, []
    project = session.project
    inside = project.root.resolve().relative_to(revision.top.resolve())
    package = PACKAGE.resolve()
    own = package.relative_to(revision.top.resolve()) if package.is_relative_to(revision.top.resolve()) else None
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary).resolve()
        root = top / inside
        places = [os.path.relpath(place, revision.top) for place in (project.root.resolve(), *project.allowed)]
        places += [str(own)] if own else []
        revision.extract(top, places, _is_read)
        root.mkdir(parents=True, exist_ok=True)
        before = LoadedProject.read(Project.at(root), Everything())
        code = Code(root, package=top / own if own else PACKAGE)
        then = Side(root, inside, before.plan, set(before.errors), code, before.project.threads)
        now = Side(project.root, inside, session.plan, set(session.errors), Code(project.root), project.threads)
        labels = affected(then, now, revision.same, list(_toolchain(root, project.root, inside, revision.changed)))
        removed = sorted(set(before.plan.labels) - set(session.plan.labels))
    return labels, removed


def _is_read(name: str) -> bool:
    """Returns whether loading and planning specs may read a file with this name."""
    path = PurePosixPath(name)
    return path.suffix in {".json", ".py"} or path.name == "pyproject.toml"


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
    """Returns the packages that a pyproject.toml requires."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = {}
    project, tool = document.get("project", {}), document.get("tool", {})
    own = [project.get(name) for name in ("requires-python", "dependencies", "optional-dependencies")]
    return [*own, document.get("dependency-groups"), *(tool.get(name) for name in ("uv", "poetry", "pdm"))]
