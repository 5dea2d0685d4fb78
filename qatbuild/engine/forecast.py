"""What would run, and why, without running anything: the verdict of every stage that is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.plan import Plan, Stage
from qatbuild.engine.reason import Reason, changes
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.engine.store import Store
from qatbuild.exchange.errors import QatbuildError
from qatbuild.exchange.request import Input, Request

RUN, MAY_RUN, RESTORE, CURRENT = "run", "may run", "restore", "current"


class Verdict(NamedTuple):
    """What will become of a stage.

    `will` is "run" if the stage has a reason of its own, "may run" if all depends on whether a stage before it comes
    to another result than last time, "restore" if it is stale and its result is in the store, "current" if it is up
    to date. `key` is that of its request, None as long as a stage before it may come to anything.
    """

    stage: Stage
    will: str
    reasons: tuple[Reason, ...]
    key: str | None


def forecast(plan: Plan, rebuilder: Rebuilder, wanted: Iterable[str], store: Store | None = None) -> dict[str, Verdict]:
    """Stage id -> verdict, for the stages whose ids are wanted and all that they need; inputs come first."""
    verdicts: dict[str, Verdict] = {}
    results: dict[str, str] = {}  # SHA-256 of the manifest that a stage will have left, where that is known.
    for stage in needed(plan, wanted):
        ahead = {role for role, id_ in stage.inputs.items() if id_ not in results}
        given = {role: _input(rebuilder, plan.stages[id_], results.get(id_)) for role, id_ in stage.inputs.items()}
        own, key = _own(plan, rebuilder, stage, given)
        own = [reason for reason in own if not (reason.kind == "input" and reason.where in ahead)]
        key = None if ahead else key
        text = store.text(key) if own and key is not None and store is not None else None
        if text is not None:
            results[stage.id] = hashlib.sha256(text.encode()).hexdigest()
        elif not own and not ahead:
            results[stage.id] = rebuilder.input(stage).sha256
        will = RESTORE if text is not None else RUN if own else MAY_RUN if ahead else CURRENT
        never = any(reason.kind == "never" for reason in own)  # Then it cannot be cut off.
        upstream = [Reason("upstream", role) for role in stage.inputs if role in ahead and not never]
        verdicts[stage.id] = Verdict(stage, will, (*own, *upstream), key)
    rebuilder.save()
    return verdicts


def needed(plan: Plan, wanted: Iterable[str]) -> Iterator[Stage]:
    """The stages whose ids are wanted and all that goes before them, in the plan's order: inputs first."""
    waiting, found = list(wanted), set[str]()
    while waiting:
        id_ = waiting.pop()
        if id_ not in found:
            found.add(id_)
            waiting.extend((*plan.stages[id_].inputs.values(), *plan.stages[id_].after))
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
    if any(reason.kind == "input" for reason in found):
        former = _recorded(Request.path_of(request.folder, request.stage))
        for reason in () if former is None else _deeper(rebuilder, former, request):
            if reason not in found:  # Values may be lists: a set holds none.
                found.append(reason)
    return found


def _deeper(rebuilder: Rebuilder, former: Request, now: Request) -> Iterator[Reason]:
    """Why inputs are not what they were, where another folder is asked for them: what led to the one, and the other."""
    for role, given in now.inputs.items():
        before = former.inputs.get(role)
        if before is not None and before.path != given.path:
            records = [_recorded(Request.path_of(path.parent, role)) for path in (before.path, given.path)]
            if None not in records:
                one, other = records
                assert one is not None
                assert other is not None
                yield from (each for each in changes(one, other, rebuilder.code_table) if each.kind != "input")
                yield from _deeper(rebuilder, one, other)


def _recorded(path: Path) -> Request | None:
    try:
        return Request.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
        request = _recorded(record)
        if request is None:
            continue
        if stage == name:
            return request
        waiting.extend((given.path.parent, role) for role, given in request.inputs.items())
    return None


def _own(plan: Plan, rebuilder: Rebuilder, stage: Stage, given: Mapping[str, Input]) -> tuple[list[Reason], str | None]:
    """The reasons to run a stage that can be told before the stages ahead of it have run, and its request's key."""
    try:
        request = rebuilder.draft(stage, given)
        return reasons(plan, rebuilder, stage, request), request.key
    except QatbuildError as error:
        return [Reason("blocked", now=error.message)], None
    except OSError as fault:
        return [Reason("blocked", now=f"{fault.filename}: {fault.strerror}")], None


def _input(rebuilder: Rebuilder, upstream: Stage, result: str | None) -> Input:
    """What a stage will be given of one before it; of one whose result is not known, what is there now."""
    if result is not None:
        return Input(rebuilder.manifest_path(upstream), result)
    try:
        return rebuilder.input(upstream)
    except QatbuildError:
        return Input(rebuilder.manifest_path(upstream), "")
