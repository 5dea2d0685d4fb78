"""The state of every label: up to date, stale, not built, refused by a gate, or failed; without building."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from qatbuild.engine.forecast import CURRENT, Verdict
from qatbuild.engine.plan import Plan
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.engine.recorded import recorded
from qatbuild.exchange.published import NO_MANIFEST
from qatbuild.report.failures import Failure


class State(StrEnum):
    """The state of a stage, and of a label. REFUSED and FAILED are of the last build."""

    UP_TO_DATE = "up to date"
    STALE = "stale"
    NOT_BUILT = "not built"
    REFUSED = "refused"
    FAILED = "failed"


class StageStatus(NamedTuple):
    """A stage that is not up to date: what a build would do and why, and the printed error of one that failed."""

    state: State
    verdict: Verdict
    error: str = ""


class LabelStatus(NamedTuple):
    """A label with its stages that are not up to date, in the plan's order."""

    label: str
    stages: tuple[StageStatus, ...]

    @property
    def state(self) -> State:
        """The state of the label's first stage that is not up to date: the later ones wait for it."""
        return self.stages[0].state if self.stages else State.UP_TO_DATE


def statuses(
    plan: Plan,
    rebuilder: Rebuilder,
    verdicts: Mapping[str, Verdict],
    failed: Mapping[str, Failure],
    labels: Iterable[str],
) -> list[LabelStatus]:
    """Returns the status of each label. `verdicts` are of all their stages, by id; `failed` of the last build.

    Stages without a verdict are left out.
    """
    states = {id_: _state(rebuilder, verdict) for id_, verdict in verdicts.items() if verdict.will != CURRENT}
    return [
        LabelStatus(
            label,
            tuple(
                _with_failure(StageStatus(states[id_], verdicts[id_]), failed.get(f"{label}:{name}"))
                for name, id_ in plan.labels[label].items()
                if id_ in states
            ),
        )
        for label in labels
    ]


def _state(rebuilder: Rebuilder, verdict: Verdict) -> State:
    """Returns the state of a stage that is not up to date, as far as the build folder tells."""
    record = recorded(rebuilder.place(verdict.stage).record)
    if record is not None and record.belongs_to(NO_MANIFEST):
        return State.REFUSED if record.request.key == verdict.key else State.STALE
    return State.NOT_BUILT if any(reason.kind == "never" for reason in verdict.reasons) else State.STALE


def _with_failure(status: StageStatus, failure: Failure | None) -> StageStatus:
    if failure is None or not failure.block or status.state is State.REFUSED:
        return status
    return StageStatus(State.FAILED, status.verdict, failure.block)
