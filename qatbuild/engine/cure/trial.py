"""Builds one variant up to its evaluation, whether a spec file has it or a patch makes it.

A trial is built like any label, in the same build folder: it shares the stages that it has in common with others, its
results are kept, and a training that was killed goes on. Its own folder is build/cure/...: for `gc` it is a leftover.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from qatbuild.engine.build import Builder
from qatbuild.engine.execute import Executor
from qatbuild.engine.live.monitor import Monitor
from qatbuild.engine.loaded import LoadedProject
from qatbuild.engine.outcome import Fate
from qatbuild.engine.plan import Stage, in_order, plan
from qatbuild.engine.project import Project
from qatbuild.engine.recorded import recorded
from qatbuild.exchange.errors import AcceptanceError, ArtifactError, QatbuildError
from qatbuild.exchange.published import NO_MANIFEST
from qatbuild.report.evaluated import read_report, refusals
from qatbuild.schema.model import Variant

_EVALUATE = "evaluate"


class Verdict(NamedTuple):
    """The report of a variant, or the error for which it has none."""

    report: dict[str, Any]
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether all gates passed."""
        return not self.error and not refusals(self.report)

    @property
    def outcome(self) -> str:
        """Whether it passes, and if not, why, in one line."""
        return "passes" if self.passed else self.error or refusals(self.report)


class Trials(NamedTuple):
    """Builds variants of a project with one executor; `say` receives a line for each stage that runs."""

    project: Project
    executor: Executor
    say: Callable[[str], object]

    def judge(self, variant: Variant) -> Verdict:
        """Builds a variant and returns its verdict. ArtifactError if its report is changed meanwhile."""
        planned = plan([variant], self.project.root)
        loaded = LoadedProject(self.project, planned, {}, {}, {}, {variant.label: variant.about})
        monitor = Monitor()
        builder = Builder(loaded, self.executor, monitor=monitor)
        stages = list(in_order(planned, [planned.labels[variant.label][_EVALUATE]]))
        monitor.plan((stage, builder.rebuilder.manifest_path(stage).parent) for stage in stages)
        try:
            for stage in stages:
                monitor.ended(stage, self._brought_up_to_date(builder, monitor, stage))
        except AcceptanceError:  # The model is refused, and has a report.
            pass
        except QatbuildError as error:
            return Verdict({}, error.in_one_line())
        finally:
            monitor.close()
            builder.finish()
        return Verdict(read_report(self.project.build / variant.label, f"doit {variant.label}"))

    def _brought_up_to_date(self, builder: Builder, monitor: Monitor, stage: Stage) -> Fate:
        if builder.is_current(stage) or (stage.name == _EVALUATE and self._is_refused(builder, stage)):
            return Fate.UP_TO_DATE
        restorable = stage.id in builder.restorable
        monitor.started(stage, builder.reasons[stage.id], restorable=restorable, say=self.say)
        return builder.build(stage)

    def _is_refused(self, builder: Builder, stage: Stage) -> bool:
        """Returns whether the gates have refused just this model before, and its report is there."""
        record = recorded(builder.rebuilder.place(stage).record)
        if record is None or not record.belongs_to(NO_MANIFEST) or record.request.key != builder.request(stage).key:
            return False
        try:
            read_report(self.project.build / stage.home, "")
        except ArtifactError:
            return False
        return True
