"""doit's reporter for a build: a line and a reason for each stage that runs, errors as blocks, closing tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from doit.exceptions import TaskFailed, UnmetDependency
from doit.reporter import ConsoleReporter

from qatbuild.engine.closing import Pages, close, summary
from qatbuild.engine.live.monitor import Monitor
from qatbuild.engine.outcome import Fate, Outcomes, not_built_line, shown

if TYPE_CHECKING:
    from qatbuild.engine.plan import Stage
    from qatbuild.engine.reason import Reason


class Refused(TaskFailed):  # type: ignore[misc]
    """A gate refused the built model, which has a new report."""


class BuildContext(NamedTuple):
    """Data of a build for the reporter.

    `reasons` are by stage id; `restorable` are the ids of stages with a result in the store. Both are filled while
    stages are checked. `unloaded` counts up-to-date stages that were not loaded. `monitor` shows what runs.
    """

    pages: Pages
    reasons: Mapping[str, Sequence[Reason]]
    restorable: AbstractSet[str]
    unloaded: int
    monitor: Monitor


def reporter_class(context: BuildContext) -> type[ConsoleReporter]:
    """Returns the reporter of one build, as a class because doit makes the instance."""

    class Reporter(BuildReporter):
        def __init__(self, outstream: Any, options: dict[str, Any]) -> None:
            super().__init__(outstream, options, context)

    return Reporter


class BuildReporter(ConsoleReporter):  # type: ignore[misc]
    """Prints one line for a stage that runs, and nothing for one that is up to date."""

    desc = "qatbuild: stages that run, with reasons, and the table of models"

    def __init__(self, outstream: Any, options: dict[str, Any], context: BuildContext) -> None:
        """Begins a build."""
        super().__init__(outstream, options)
        self.context = context
        self.monitor = context.monitor
        self.outcomes = Outcomes.empty(context.unloaded)

    def write(self, text: str) -> None:
        """Called by doit, too: writes text above the live lines."""
        self.monitor.write(text, self.outstream.write)

    def initialize(self, tasks: Mapping[str, Any], selected: Sequence[str]) -> None:
        """Called by doit before the first task: the monitor learns what may run."""
        stages = ((_stage(task), task) for task in map(tasks.__getitem__, selected))
        self.monitor.plan((stage, Path(task.targets[0]).parent) for stage, task in stages if stage is not None)

    def execute_task(self, task: Any) -> None:
        """Prints which stage runs, and why."""
        stage = _stage(task)
        reasons = self.context.reasons.get(stage.id) if stage else None
        if stage is not None and reasons:  # Without a reason, the stage will be up to date.
            restorable = stage.id in self.context.restorable
            self.monitor.started(stage, reasons, restorable=restorable, say=self.outstream.write)
            self.outstream.flush()

    def skip_uptodate(self, task: Any) -> None:
        """Counts a stage that is up to date."""
        self._note(task, Fate.UP_TO_DATE)

    def add_success(self, task: Any) -> None:
        """Counts a stage that was built or restored, or is up to date after all."""
        ran, restored = task.values.get("ran"), task.values.get("restored")
        self._note(task, Fate.BUILT if ran else Fate.RESTORED if restored else Fate.UP_TO_DATE)

    def add_failure(self, task: Any, fail: Any) -> None:
        """Prints an error once, at its own stage; stages that depend on it are reported as not built."""
        stage = _stage(task)
        if isinstance(fail, UnmetDependency):
            if stage:
                self.write(not_built_line(stage))
            self._note(task, Fate.NOT_BUILT)
            return
        text = fail.message if isinstance(fail, TaskFailed) else fail.get_msg()
        self._note(task, Fate.REFUSED if isinstance(fail, Refused) else Fate.FAILED, text)
        self.monitor.fail(shown(stage) if stage else task.name, text, self.outstream.write)

    def complete_run(self) -> None:
        """Prints the tables of evaluated models, deployed routes and times, and the counts.

        ArtifactError if a page cannot be written.
        """
        self.monitor.close()
        try:
            for text in close(self.outcomes, self.context.pages):
                self.write(text)
        finally:
            self.write(summary(self.outcomes, time.monotonic() - self.monitor.began_s))
            if self.runtime_errors:
                self.write("\n".join(self.runtime_errors) + "\n")

    def _note(self, task: Any, fate: Fate, error: str = "") -> None:
        if (stage := _stage(task)) is not None:
            self.outcomes.rows.append(self.monitor.ended(stage, fate, error))


def _stage(task: Any) -> Stage | None:
    return (task.meta or {}).get("stage")
