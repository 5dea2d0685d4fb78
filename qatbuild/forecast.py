"""What would run, and why, without running anything: the verdict of every stage that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qatbuild.errors import QatbuildError
from qatbuild.plan import Plan, Stage
from qatbuild.reason import Reason, changes
from qatbuild.rebuild import Rebuilder
from qatbuild.request import Input, Request

RUN, MAY_RUN, CURRENT = "run", "may run", "current"


@dataclass(frozen=True)
class Verdict:
    """What will become of a stage.

    `will` is "run" if the stage has a reason of its own, "may run" if all depends on whether a stage before it comes
    to another result than last time, "current" if it is up to date.
    """

    stage: Stage
    will: str
    reasons: tuple[Reason, ...]


def forecast(plan: Plan, rebuilder: Rebuilder, wanted: Iterable[str]) -> dict[str, Verdict]:
    """Stage id -> verdict, for the stages whose ids are wanted and all that they need; inputs come first."""
    verdicts: dict[str, Verdict] = {}
    for stage in needed(plan, wanted):
        ahead = {role for role, id_ in stage.inputs.items() if verdicts[id_].will != CURRENT}
        own = [
            reason
            for reason in _own(plan, rebuilder, stage)
            if not (reason.kind == "input" and reason.where in ahead)  # What it will be, nobody knows yet.
        ]
        will = RUN if own else MAY_RUN if ahead else CURRENT
        never = any(reason.kind == "never" for reason in own)  # Then it cannot be cut off.
        upstream = [Reason("upstream", role) for role in stage.inputs if role in ahead and not never]
        verdicts[stage.id] = Verdict(stage, will, (*own, *upstream))
    rebuilder.save()
    return verdicts


def needed(plan: Plan, wanted: Iterable[str]) -> Iterator[Stage]:
    """The stages whose ids are wanted and all that they need, in the plan's order: inputs first."""
    waiting, found = list(wanted), set[str]()
    while waiting:
        id_ = waiting.pop()
        if id_ not in found:
            found.add(id_)
            waiting.extend(plan.stages[id_].inputs.values())
    return (stage for id_, stage in plan.stages.items() if id_ in found)


def reasons(plan: Plan, rebuilder: Rebuilder, stage: Stage, request: Request) -> list[Reason]:
    """Why the stage must run; empty if it is up to date.

    A shared stage whose recipe is new has nothing to be compared with in its own folder: what counts is what the
    same stage of its label was made from, last time.
    """
    found = rebuilder.stale(request)
    if found and found[0].kind == "never" and stage.home not in stage.labels:
        former = next(filter(None, (_former(plan, rebuilder, label, stage.name) for label in stage.labels)), None)
        return found if former is None else changes(former, request, rebuilder.code_table) or found
    return found


def _former(plan: Plan, rebuilder: Rebuilder, label: str, name: str) -> Request | None:
    """The request of a shared stage that the artifacts of a label were made from: their own records lead to it."""
    waiting = [
        (rebuilder.build / label, each) for each, id_ in plan.labels[label].items() if plan.stages[id_].home == label
    ]
    seen = set[Path]()
    while waiting:
        folder, stage = waiting.pop()
        record = Request.path_of(folder, stage)
        if record in seen:
            continue
        seen.add(record)
        try:
            request = Request.from_json(record.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError):
            continue
        if stage == name:
            return request
        waiting.extend((given.path.parent, role) for role, given in request.inputs.items())
    return None


def _own(plan: Plan, rebuilder: Rebuilder, stage: Stage) -> list[Reason]:
    """The reasons to run a stage that can be told before the stages ahead of it have run."""
    try:
        given = {role: _input(rebuilder, plan.stages[id_]) for role, id_ in stage.inputs.items()}
        return reasons(plan, rebuilder, stage, rebuilder.draft(stage, given))
    except QatbuildError as error:
        return [Reason("blocked", now=error.message)]
    except OSError as fault:
        return [Reason("blocked", now=f"{fault.filename}: {fault.strerror}")]


def _input(rebuilder: Rebuilder, upstream: Stage) -> Input:
    try:
        return rebuilder.input(upstream)
    except QatbuildError:
        return Input(rebuilder.manifest_path(upstream), "")
