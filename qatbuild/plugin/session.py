"""A session: a loaded project, its builder, and the names of its doit tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from qatbuild.engine.build import Builder
from qatbuild.engine.forecast import Verdict, forecast
from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.project import Everything, Project, Selection
from qatbuild.schema.label import spec_of

if TYPE_CHECKING:
    from qatbuild.engine.build_lock import BuildLock
    from qatbuild.engine.execute import Executor
    from qatbuild.engine.live.monitor import Monitor
    from qatbuild.engine.plan import Plan
    from qatbuild.exchange.errors import QatbuildError


class Session(NamedTuple):
    """A loaded project and the builder of its stages. `prefix` begins the names of its tasks; '' for no prefix."""

    loaded: LoadedProject
    builder: Builder
    prefix: str = ""

    @classmethod
    def load(
        cls,
        project: Project,
        executor: Executor | None = None,
        selection: Selection | None = None,
        *,
        prefix: str = "",
        lock: BuildLock | None = None,
        always: bool = False,
        whole: bool = False,
        monitor: Monitor | None = None,
    ) -> Session:
        """Loads the selected specs of a project, by default all; see Builder for the other arguments."""
        loaded = LoadedProject.load(project, Everything() if selection is None else selection)
        return cls(loaded, Builder(loaded, executor, lock=lock, always=always, whole=whole, monitor=monitor), prefix)

    def reload(self) -> Session:
        """Loads the whole project again, after another process has built in its folder."""
        return Session.load(self.project, self.builder.executor, prefix=self.prefix)

    @property
    def project(self) -> Project:
        """The project's folders and settings."""
        return self.loaded.project

    @property
    def plan(self) -> Plan:
        """The plan of all specs without faults."""
        return self.loaded.plan

    @property
    def errors(self) -> Mapping[str, QatbuildError]:
        """The errors of specs with faults, by name."""
        return self.loaded.errors

    def task(self, label: str) -> str:
        """Returns the name of a label's task."""
        return f"{self.prefix}/{label}" if self.prefix else label

    def without_prefix(self, names: Iterable[str]) -> list[str]:
        """Removes the prefix from task names; returns no names (all labels) if the prefix itself is one of them."""
        names = list(names)
        if not self.prefix:
            return names
        return [] if self.prefix in names else [name.removeprefix(f"{self.prefix}/") for name in names]

    def within(self, name: str) -> str:
        """Removes the prefix from the name of a task; returns any other name, such as a path, as it is."""
        return name.removeprefix(f"{self.prefix}/") if self.prefix else name

    def select(self, names: Iterable[str]) -> list[str]:
        """Returns the ids of the stages that task names select; without names, those of a plain `doit`.

        Raises the error of a named spec that could not be read, and SpecError for an unknown name.
        """
        good = (name for name in self._default if self._faulty(name) not in self.errors)
        return self.loaded.select(self.without_prefix(names) or good)

    def labels(self, names: Iterable[str]) -> list[str]:
        """Returns the labels that task names select; without names, all of the project. Raises what `select` raises."""
        wanted = self.without_prefix(names)
        return self.loaded.labels(wanted) if wanted else list(self.plan.labels)

    def evaluated(self, names: Iterable[str]) -> list[str]:
        """Returns the labels whose evaluations task names select. Raises what `select` raises."""
        stages = map(self.plan.stages.__getitem__, self.select(names))
        return [stage.labels[0] for stage in stages if stage.name == "evaluate"]

    def unreadable(self, names: Iterable[str]) -> list[str]:
        """Returns the specs with faults that a selection of all labels leaves out; with names, none."""
        return [] if self.without_prefix(names) else sorted(self.errors)

    def faults(self, names: Iterable[str]) -> list[QatbuildError]:
        """Returns the errors of the specs that a selection without names leaves out."""
        return [self.errors[name] for name in self.left_out(names)]

    def left_out(self, names: Iterable[str]) -> list[str]:
        """Returns the specs with faults that a selection without names leaves out of a plain `doit`."""
        if self.without_prefix(names):
            return []
        return [name for name in dict.fromkeys(map(self._faulty, self._default)) if name in self.errors]

    def _faulty(self, name: str) -> str:
        """Returns the spec's name in a label; the name itself if it is a spec's that makes no label, such as a:b."""
        return name if name in self.errors else spec_of(name)

    @property
    def _default(self) -> list[str]:
        """The labels and specs of a plain `doit`; with a prefix, all."""
        return [*self.plan.labels, *self.errors] if self.prefix else self.loaded.default

    def forecast(self, names: Iterable[str]) -> dict[str, Verdict]:
        """Predicts what a build would do with the selected stages and everything they depend on, by stage id."""
        return forecast(self.plan, self.builder.rebuilder, self.select(names), self.builder.store)
