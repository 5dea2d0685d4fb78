"""Stages built one after another, without doit: each announced, its failure shown, the rest spared."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from qatbuild.engine.closing import Pages, close, summary
from qatbuild.engine.live.monitor import Monitor, Say
from qatbuild.engine.outcome import Fate, Outcome, Outcomes, not_built_line, shown
from qatbuild.engine.plan import Stage
from qatbuild.exchange.errors import AcceptanceError, QatbuildError

if TYPE_CHECKING:
    from qatbuild.engine.reason import Reason


class StageBuilder(Protocol):
    """What builds one stage: engine.build.Builder, which see."""

    always: bool
    reasons: dict[str, list[Reason]]
    restorable: set[str]

    def is_current(self, stage: Stage) -> bool:
        """Returns whether the stage is up to date; if not, records the reasons."""

    def build(self, stage: Stage) -> Fate:
        """Restores or runs a stage."""


def end(monitor: Monitor, outcomes: Outcomes, pages: Pages, say: Say) -> None:
    """Says the closing texts. ArtifactError if a page cannot be written."""
    monitor.close()
    for text in close(outcomes, pages):
        say(text)
    say(summary(outcomes, time.monotonic() - monitor.began_s))


def outcomes_of(builder: StageBuilder, monitor: Monitor, stages: Iterable[Stage], say: Say) -> Iterator[Outcome]:
    """Builds stages in order and yields the outcome of each."""
    lost = set[str]()
    for stage in stages:
        if lost.intersection(stage.prerequisites):
            monitor.write(not_built_line(stage), say)
            outcome = monitor.ended(stage, Fate.NOT_BUILT)
        else:
            outcome = _outcome(builder, monitor, stage, say)
        if outcome.fate in {Fate.NOT_BUILT, Fate.FAILED, Fate.REFUSED}:
            lost.add(stage.id)
        yield outcome


def _outcome(builder: StageBuilder, monitor: Monitor, stage: Stage, say: Say) -> Outcome:
    if builder.is_current(stage) and not builder.always:
        return monitor.ended(stage, Fate.UP_TO_DATE)
    if reasons := builder.reasons[stage.id]:
        monitor.started(stage, reasons, restorable=stage.id in builder.restorable, say=say)
    try:
        return monitor.ended(stage, builder.build(stage))
    except QatbuildError as error:
        fate = Fate.REFUSED if isinstance(error, AcceptanceError) else Fate.FAILED
        outcome = monitor.ended(stage, fate, error.block())
        monitor.fail(shown(stage), error.block(), say)
        return outcome
