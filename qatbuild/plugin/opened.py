"""An opened project: its specs, what is planned for them, and what builds that.

The commands find an opened project again by its task creator, which is a method of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from qatbuild.errors import QatbuildError, SpecError
from qatbuild.execute import Executor
from qatbuild.execute.local import LocalExecutor
from qatbuild.forecast import Verdict, forecast
from qatbuild.plan import Plan
from qatbuild.plugin.project import Project
from qatbuild.plugin.reporter import reporter
from qatbuild.plugin.state import checker
from qatbuild.plugin.tasks import Builder, tasks
from qatbuild.rebuild import Rebuilder
from qatbuild.spec.faults import suggest


@dataclass(frozen=True)
class Opened:
    """An opened project: its plan, the descriptions and the errors of its specs by name, and what builds it."""

    project: Project
    plan: Plan
    descriptions: dict[str, str]
    errors: dict[str, QatbuildError]
    builder: Builder

    @classmethod
    def of(cls, project: Project, executor: Executor | None, specs: Sequence[str] | None) -> Opened:
        """The specs of a project that are named; None for all, of which there must be some."""
        plan, descriptions, errors = project.load(specs)
        rebuilder = Rebuilder.of(project.root, project.build, project.threads)
        opened = cls(
            project, plan, descriptions, errors, Builder(plan, rebuilder, executor or LocalExecutor(), project.store)
        )
        if specs is None:
            _check_default(opened)
        return opened

    def config(self) -> dict[str, Any]:
        """What doit is told of them, besides where its state is."""
        return {
            "check_file_uptodate": checker(self.builder.rebuilder.digests),
            "reporter": reporter(self.project.build, self.builder.reasons, self.builder.restorable),
        }

    def tasks(self) -> Iterator[dict[str, Any]]:
        """Every spec below the project's specs folder, as doit tasks."""
        return tasks(self.plan, self.descriptions, self.errors, self.builder)

    def select(self, names: Iterable[str]) -> list[str]:
        """The ids of the stages that labels, specs, or either with :STAGE name; without names, of plain doit.

        The error of a spec that cannot be read is raised where it is asked for; SpecError for what there is not.
        """
        chosen = list(names) or list(self.project.default or [*self.plan.labels, *self.errors])
        return list(dict.fromkeys(id_ for name in chosen for id_ in self._ids(name)))

    def forecast(self, names: Iterable[str]) -> dict[str, Verdict]:
        """What would become of the stages that are named, and of all that they need."""
        return forecast(self.plan, self.builder.rebuilder, self.select(names), self.builder.store)

    def _ids(self, name: str) -> list[str]:
        wanted, _, stage = name.partition(":")
        if wanted in self.errors:
            raise self.errors[wanted]
        if wanted == "shared":
            ids = [id_ for id_ in self.plan.stages if id_.startswith(f"shared/{stage}")]
        else:
            labels = [label for label in self.plan.labels if wanted in (label, label.partition("@")[0])]
            found = [self.plan.labels[label] for label in labels]
            if labels and stage and not any(stage in stages for stages in found):
                known = dict.fromkeys(each for stages in found for each in stages)
                facts = [("it has", ", ".join(known))]
                raise SpecError(f'"{wanted}" has no stage "{stage}".{suggest(stage, known)}', facts)
            ids = [id_ for stages in found for each, id_ in stages.items() if stage in ("", each)]
        if not ids:
            raise SpecError(f'There is no label "{name}".{suggest(wanted, self.known())}')
        return ids

    def known(self) -> set[str]:
        """Every label, and every name of a spec."""
        return {*self.plan.labels, *self.descriptions, *self.errors}


def _check_default(opened: Opened) -> None:
    project, known = opened.project, opened.known()
    if not known:
        facts = [("folder", project.specs)]
        raise SpecError(
            "There are no specs.", facts, "a spec is a JSON file in that folder; [tool.qatbuild] specs names another"
        )
    for label in project.default or ():
        if label.partition(":")[0] not in known:
            where = f"tool.qatbuild.default{suggest(label, known)}"
            raise SpecError(f'There is no spec for the default "{label}".', [("pyproject.toml", where)])
