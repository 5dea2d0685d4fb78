"""An opened project: its specs, what is planned for them, and what builds that.

The commands find an opened project again by its task creator, which is a method of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from doit.exceptions import InvalidDodoFile

from qatbuild.engine.execute import Executor
from qatbuild.engine.forecast import Verdict, forecast
from qatbuild.engine.plan import Plan
from qatbuild.engine.pools import CROWD, Pools
from qatbuild.engine.project import Project
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.exchange.errors import QatbuildError, SpecError
from qatbuild.plugin import invocation
from qatbuild.plugin.reporter import reporter
from qatbuild.plugin.state import checker
from qatbuild.plugin.tasks import Builder, tasks
from qatbuild.schema.faults import suggest


class Opened(NamedTuple):
    """An opened project: its plan, the descriptions and the errors of its specs by name, and what builds it."""

    project: Project
    plan: Plan
    descriptions: dict[str, str]
    errors: dict[str, QatbuildError]
    builder: Builder
    prefix: str = ""
    """What the names of its tasks begin with, in a dodo.py that has others."""

    @classmethod
    def of(
        cls, project: Project, executor: Executor | None, specs: Sequence[str] | None, run: invocation.Asked | None
    ) -> Opened:
        """The specs of a project that are named, for a run; without names all, of which there must be some."""
        plan, descriptions, errors = project.load(specs)
        rebuilder = Rebuilder.of(project.root, project.build, project.threads)
        builder = Builder(plan, rebuilder, executor or _local(), project.store)
        builder.run = run
        if run is not None:
            there = {"cpu": CROWD * (os.cpu_count() or 1), **dict(project.pools)}
            run.pools = Pools(there, dict(project.takes), project.threads)
            run.stop.append(builder.executor.stop)
        opened = cls(project, plan, descriptions, errors, builder)
        if specs is None:
            _check_default(opened)
        return opened

    def again(self) -> Opened:
        """The project as it is now, for whoever had to wait for a build."""
        return Opened.of(self.project, self.builder.executor, None, None)._replace(prefix=self.prefix)

    def config(self, others: Callable[[], Mapping[str, Sequence[str]]]) -> dict[str, Any]:
        """What doit is told of them, besides where its state is. `others` tells the labels that were not loaded."""
        builder = self.builder

        def labels() -> Mapping[str, Sequence[str]]:
            return {**others(), **self.plan.routes}

        return {
            "check_file_uptodate": checker(builder.rebuilder.digests),
            "reporter": reporter(self.project, builder.reasons, builder.restorable, labels),
        }

    def tasks(self) -> Iterator[dict[str, Any]]:
        """Every spec below the project's specs folder, as doit tasks."""
        own = tasks(self.plan, self.descriptions, self.errors, self.builder)
        if not self.prefix:
            return own
        from qatbuild.plugin.prefix import prefixed  # noqa: PLC0415

        return prefixed(self, own)

    def task(self, label: str) -> str:
        """The name of a label's task."""
        return f"{self.prefix}/{label}" if self.prefix else label

    def select(self, names: Iterable[str]) -> list[str]:
        """The ids of the stages that labels, specs, or either with :STAGE name; without names, of plain doit.

        The error of a spec that cannot be read is raised where it is asked for; SpecError for what there is not.
        """
        everything = [*self.plan.labels, *self.errors]
        chosen = self.plain(names) or list(everything if self.prefix else self.project.default or everything)
        return list(dict.fromkeys(id_ for name in chosen for id_ in self._ids(name)))

    def forecast(self, names: Iterable[str]) -> dict[str, Verdict]:
        """What would become of the stages that are named, and of all that they need."""
        return forecast(self.plan, self.builder.rebuilder, self.select(names), self.builder.store)

    def plain(self, names: Iterable[str]) -> list[str]:
        """Names without the prefix; none, which is all, if the prefix itself is among them."""
        names = list(names)
        if not self.prefix:
            return names
        return [] if self.prefix in names else [name.removeprefix(f"{self.prefix}/") for name in names]

    def _ids(self, name: str) -> list[str]:
        wanted, _, stage = name.partition(":")
        if wanted in self.errors:
            raise self.errors[wanted]
        if wanted == "shared":
            ids = [id_ for id_ in self.plan.stages if id_.startswith(f"shared/{stage}")]
        else:
            labels = [label for label in self.plan.labels if wanted in (label, label.partition("@")[0])]
            found = [self.plan.labels[label] for label in labels]
            if labels and stage and not any(_named(stage, each) for stages in found for each in stages):
                known = dict.fromkeys(each for stages in found for each in stages)
                facts = [("it has", ", ".join(known))]
                raise SpecError(f'"{wanted}" has no stage "{stage}".{suggest(stage, known)}', facts)
            ids = [id_ for stages in found for each, id_ in stages.items() if _named(stage, each)]
        if not ids:
            raise SpecError(f'There is no label "{name}".{suggest(wanted, self.known())}')
        return ids

    def known(self) -> set[str]:
        """Every label, and every name of a spec."""
        return {*self.plan.labels, *self.descriptions, *self.errors}


def _local() -> Executor:
    from qatbuild.engine.execute.local import LocalExecutor  # noqa: PLC0415

    return LocalExecutor()


def _named(stage: str, each: str) -> bool:
    """Whether a stage is meant: by its name, by "deploy" for every route, or by nothing for all."""
    return stage in ("", each, each.partition(".")[0])


def opening(root: Path, executor: Executor | None) -> Opened:
    """The project at `root`, all of it; doit's InvalidDodoFile for what is wrong with it as a whole."""
    try:
        project = Project.prepared(root)
        run = invocation.current()
        if run is not None:
            run.folders.append(project.memory)
        return Opened.of(project, executor, None, run)
    except QatbuildError as error:
        raise InvalidDodoFile(error.block()) from error


def _check_default(opened: Opened) -> None:
    project, known = opened.project, opened.known()
    if not known:
        facts = [("folder", pattern) for pattern in project.patterns] or [("folder", str(project.specs))]
        raise SpecError(
            "There are no specs.", facts, "a spec is a JSON file in that folder; [tool.qatbuild] specs names another"
        )
    for label in project.default or ():
        if label.partition(":")[0] not in known:
            where = f"tool.qatbuild.default{suggest(label, known)}"
            raise SpecError(f'There is no spec for the default "{label}".', [("pyproject.toml", where)])
