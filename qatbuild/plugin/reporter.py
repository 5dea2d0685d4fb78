"""What a build prints: a line and a reason for each stage that runs, each error as one block, at the end the table."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from doit.exceptions import TaskFailed, UnmetDependency
from doit.reporter import ConsoleReporter

if TYPE_CHECKING:
    from qatbuild.engine.plan import Stage
    from qatbuild.engine.project import Project
    from qatbuild.engine.reason import Reason
    from qatbuild.report.failures import Failure


class Refused(TaskFailed):  # type: ignore[misc]
    """A model was built, and a gate of its spec refused it: its report is new."""


_FAILURES = ".qatbuild/failures.json"
_REASONS = 2
"""How many reasons fit in a line."""


def reporter(
    project: Project,
    reasons: dict[str, list[Reason]],
    restorable: set[str],
    labels: Callable[[], Mapping[str, Sequence[str]]],
) -> type[ConsoleReporter]:
    """The reporter class for doit, which makes the instance itself.

    `reasons` says, by stage id, why a stage runs; `restorable` has the ids of those whose result is in the store;
    `labels` tells label -> routes, which the page and the JUnit file list.
    """
    fields = {
        "build": project.build,
        "pages": project.pages,
        "reasons": reasons,
        "restorable": restorable,
        "labels": staticmethod(labels),
    }
    return type("Reporter", (BuildReporter,), fields)


class BuildReporter(ConsoleReporter):  # type: ignore[misc]
    """One line a stage; silence for what is up to date."""

    desc = "qatbuild: stages that run, with reasons, and the table of models"
    build: ClassVar[Path]
    pages: ClassVar[Path]
    """The file of what report/pages.py remembers."""
    reasons: ClassVar[dict[str, list[Reason]]]
    restorable: ClassVar[set[str]]
    fresh: ClassVar[int] = 0
    """Stages that are up to date and were not even loaded."""

    def __init__(self, outstream: Any, options: dict[str, Any]) -> None:
        """Called by doit."""
        super().__init__(outstream, options)
        self.started = time.monotonic()
        self.current = self.fresh
        self.built: list[Stage] = []
        self.restored: list[Stage] = []
        self.failed: list[Stage] = []
        self.refused: list[Stage] = []
        self.good: list[str] = []
        self.lost: list[Failure] = []

    def unread(self) -> Iterable[str]:
        """Specs that this build has not read, and nobody knows to be up to date."""
        return ()

    def settled(self) -> Container[str]:
        """Specs whose models and reports are as they were when they were told last."""
        return ()

    def told(self, since_ns: int) -> None:
        """Called when all models have been told, as they were at the given time or later."""

    @staticmethod
    def labels() -> Mapping[str, Sequence[str]]:
        """Label -> routes, of all that there is."""
        return {}

    def execute_task(self, task: Any) -> None:
        """Say what runs, and why."""
        stage = _stage(task)
        reasons = self.reasons.get(stage.id) if stage else None
        if stage is not None and reasons:  # Without a reason doit has forgotten it, and it will be found current.
            mark, more = ("<", " (restored)") if stage.id in self.restorable else (".", "")
            self.write(f"{mark}  {_shown(stage)}: {in_brief(reasons)}{more}\n")
            self.outstream.flush()

    def skip_uptodate(self, task: Any) -> None:
        """Count it."""
        stage = _stage(task)
        if stage is not None:
            self.current += 1
            self.good += _keys(stage)

    def add_success(self, task: Any) -> None:
        """Remember it for the table."""
        stage = _stage(task)
        self.good += _keys(stage) if stage else []
        if stage is not None and task.values.get("ran"):
            self.built.append(stage)
        elif stage is not None and task.values.get("restored"):
            self.restored.append(stage)
        elif stage is not None:
            self.current += 1

    def add_failure(self, task: Any, fail: Any) -> None:
        """Show the error once, where it happened; of what depends on it only that it was not built."""
        stage = _stage(task)
        name = _shown(stage) if stage else task.name
        if isinstance(fail, UnmetDependency):
            if stage:
                self.write(f"!  {name}: not built, for what it needs failed\n")
                self.lost += _failures(stage, "") if _is_judged(stage) else []
            return
        if stage:
            self.failed.append(stage)
        if stage and isinstance(fail, Refused):
            self.refused.append(stage)
        text = fail.message if isinstance(fail, TaskFailed) else fail.get_msg()
        if stage:
            # What a gate refused has a new report that says so.
            self.good += _keys(stage) if isinstance(fail, Refused) else []
            self.lost += [] if isinstance(fail, Refused) else _failures(stage, text)
        self.write(f"\n{name} FAILED\n{_indented(text)}\n")

    def complete_run(self) -> None:
        """Print the tables of the models that were evaluated and the routes that were taken, and the counts."""
        if self.built or self.restored or self.failed or (self.good and (self.build / _FAILURES).is_file()):
            self._write_tables()
        restored = (len(self.restored), "restored")
        counts = [(len(self.built), "built"), restored, (self.current, "up to date"), (len(self.failed), "failed")]
        parts = [f"{count} {what}" for count, what in counts if count]
        if parts:
            self.write(f"{', '.join(parts)} in {time.monotonic() - self.started:.1f} s\n")
        if self.runtime_errors:
            self.write("\n".join(self.runtime_errors) + "\n")

    def _write_tables(self) -> None:
        from qatbuild.report.failures import update  # noqa: PLC0415  Only for a build that made something.
        from qatbuild.report.layers import worst_layers  # noqa: PLC0415
        from qatbuild.report.table import routes, table  # noqa: PLC0415

        done = (*self.built, *self.restored, *self.refused)
        names = {stage.home: "route.json" if stage.route else "report.json" for stage in done if _is_judged(stage)}
        there = sorted(path for home, name in names.items() if (path := self.build / home / name).is_file())
        for text in (
            table([path for path in there if path.name == "report.json"], self.build),
            routes(
                [path for path in there if path.name == "route.json"],
                [each for each in self.lost if each.route and each.block],
            ),
        ):
            if text:
                self.write("\n" + text)
        for stage in self.refused:
            self.write(worst_layers(self.build / stage.home / "report.json"))
        forgotten = (self.build / _FAILURES).is_file()
        known = update(self.build, self.lost, self.good)
        if there or known or forgotten:
            self._write_pages(known.values())

    def _write_pages(self, failures: Iterable[Failure]) -> None:
        """Refresh report.html and junit.xml. They show what the reports say, and no stage depends on them."""
        from qatbuild.report.models import with_kept  # noqa: PLC0415
        from qatbuild.report.pages import refresh  # noqa: PLC0415

        try:
            labels = with_kept(self.build, self.labels(), self.unread())
            since_ns = time.time_ns()
            page = refresh(self.build, labels, self.pages, failures, self.settled())
            self.told(since_ns)
        except OSError as fault:
            self.write(f"{self.build / 'report.html'} cannot be written: {fault.strerror}\n")
        else:
            self.write(f"{page.relative_to(self.build.parent)}\n")


def _is_judged(stage: Stage) -> bool:
    return stage.name == "evaluate" or bool(stage.route)


def _keys(stage: Stage) -> list[str]:
    return [f"{label}:{stage.name}" for label in stage.labels]


def _failures(stage: Stage, block: str) -> list[Failure]:
    from qatbuild.report.failures import Failure  # noqa: PLC0415  Most builds need none.

    return [Failure(label, stage.name, block) for label in stage.labels]


def _stage(task: Any) -> Stage | None:
    return (task.meta or {}).get("stage")


def _shown(stage: Stage) -> str:
    more = f" (and {len(stage.labels) - 1} more)" if len(stage.labels) > 1 else ""
    return f"{stage.labels[0]}:{stage.name}{more}"


def in_brief(reasons: list[Reason]) -> str:
    """The first reasons, and how many more there are."""
    more = len(reasons) - _REASONS
    return "; ".join(reason.text for reason in reasons[:_REASONS]) + (f" and {more} more" if more > 0 else "")


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines())
