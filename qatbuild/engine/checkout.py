"""A project as it was at a git revision: its specs and code in a folder of their own, planned like the working tree's.

Data are not written there; `Checkout.located` does so for the stages whose requests are asked for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from qatbuild.engine.affected import Side, affected
from qatbuild.engine.code_digest import PACKAGE, Code
from qatbuild.engine.file_cache import FileCache
from qatbuild.engine.git import Revision, Span
from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.pins import changed_pins
from qatbuild.engine.plan import Stage
from qatbuild.engine.project import Everything, Project
from qatbuild.engine.reason import Reason
from qatbuild.engine.source import holds
from qatbuild.exchange.errors import QatbuildError
from qatbuild.schema.label import spec_of


class Comparison(NamedTuple):
    """What differs between a project at two times.

    `labels`: label -> stage -> reasons, of the present labels with other inputs; `removed` are the labels of specs, or
    of variants, that are gone.
    """

    labels: dict[str, dict[str, list[Reason]]]
    removed: list[str]


class Checkout(NamedTuple):
    """A revision of a project below `top`, which stands for the top of the repository."""

    revision: Revision
    top: Path
    side: Side

    @classmethod
    def of(cls, revision: Revision, project: Project, top: Path, code: FileCache) -> Checkout:
        """Writes specs and code of a revision into the empty folder `top`, and plans them.

        `code` has the fingerprints of qatbuild's own modules, unless the repository contains qatbuild itself.
        """
        top = top.resolve()
        repository = revision.top.resolve()
        inside = project.root.resolve().relative_to(repository)
        package = PACKAGE.resolve()
        package_inside = package.relative_to(repository) if package.is_relative_to(repository) else None
        places = [os.path.relpath(place, revision.top) for place in (project.root.resolve(), *project.allowed)]
        places += [str(package_inside)] if package_inside else []
        revision.extract(top, places, _is_read)
        root = top / inside
        root.mkdir(parents=True, exist_ok=True)
        then = _project(root, revision, top)
        _adopt_valid_documents(project, then)
        loaded = LoadedProject.read(then, Everything())
        modules = Code(root, FileCache(), top / package_inside) if package_inside else Code(root, code)
        return cls(revision, top, Side(root, inside, loaded.plan, set(loaded.errors), modules, then.threads))

    def located(self, stage: Stage) -> Stage:
        """Returns a stage whose sources have the revision's bytes: those of the working tree where they are the same.

        Others are written below `top`. What git does not know, such as ignored data, is the working tree's.
        """
        here, there = f"{self.top}/", f"{self.revision.top.resolve()}/"
        sources = {role.replace(here, there): self._place(source) for role, source in stage.sources.items()}
        return stage._replace(sources=sources)

    def _place(self, source: str) -> str:
        path = self.side.path(source)
        repository = self.revision.top.resolve()
        if Path(path).is_absolute():
            return source
        here = str(repository / path)
        if not self.revision.then.content(path) or self.revision.same(path, path):
            return here
        folder = PurePosixPath(path).parent.as_posix()
        self.revision.extract(self.top, [path, folder], lambda name: holds(path, name))
        return str(self.top / path)


def _project(root: Path, revision: Revision, top: Path) -> Project:
    try:
        return Project.at(root)
    except QatbuildError as error:
        facts = [(label, value.replace(f"{top}/", "")) for label, value in error.facts]
        raise type(error)(f"{error.message} So they were at {revision.name}.", facts, error.hint) from error


def present_side(loaded: LoadedProject, revision: Revision, code: Code) -> Side:
    """Returns the working tree's side of a comparison with a revision."""
    project = loaded.project
    inside = project.root.resolve().relative_to(revision.top.resolve())
    return Side(project.root, inside, loaded.plan, set(loaded.errors), code, project.threads)


def compare(then: Side, now: Side, span: Span) -> Comparison:
    """Returns what differs between the two ends of a span of time."""
    pins = list(changed_pins(then.root, now.root, now.inside, span.changed))
    gone = set(then.plan.labels) - set(now.plan.labels)
    return Comparison(
        affected(then, now, span.same, pins), sorted(label for label in gone if spec_of(label) not in now.broken)
    )


def _is_read(name: str) -> bool:
    """Returns whether loading and planning specs may read a file with this name."""
    path = PurePosixPath(name)
    return path.suffix in {".json", ".py"} or path.name == "pyproject.toml"


def _adopt_valid_documents(now: Project, then: Project) -> None:
    """Copies the digests of valid documents: most specs are the same, and validating thousands takes seconds."""
    with contextlib.suppress(OSError):
        then.state.path.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(now.state.valid_documents, then.state.valid_documents)
