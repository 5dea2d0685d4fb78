"""Predicts what a build would do, and why, without running anything: a verdict for every requested stage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.plan import Plan, Stage
from qatbuild.engine.reason import Reason, changes
from qatbuild.engine.rebuild import Freshness, Rebuilder
from qatbuild.engine.recorded import record_of, recorded
from qatbuild.engine.store import Store
from qatbuild.exchange.errors import QatbuildError
from qatbuild.exchange.request import Input, Request

RUN, MAY_RUN, RESTORE, CURRENT = "run", "may run", "restore", "current"


class Verdict(NamedTuple):
    """The prediction for one stage.

    `will` is "run" if the stage itself changed, "may run" if that depends on the new result of an upstream stage,
    "restore" if it is stale and its result is in the store, "current" if it is up to date. `key` is its request's key,
    None while the result of an upstream stage is unknown.
    """

    stage: Stage
    will: str
    reasons: tuple[Reason, ...]
    key: str | None


def forecast(plan: Plan, rebuilder: Rebuilder, wanted: Iterable[str], store: Store | None = None) -> dict[str, Verdict]:
    """Returns stage id -> verdict for the wanted stage ids and everything they depend on; inputs come first."""
    verdicts: dict[str, Verdict] = {}
    results: dict[str, str] = {}  # Stage id -> SHA-256 of its next manifest, if that is certain.
    for stage in needed(plan, wanted):
        ahead = {role for role, id_ in stage.inputs.items() if id_ not in results}
        inputs = {role: _input(rebuilder, plan.stages[id_], results.get(id_)) for role, id_ in stage.inputs.items()}
        reasons, key = _reasons(rebuilder, stage, inputs)
        reasons = [reason for reason in reasons if not (reason.kind == "input" and reason.where in ahead)]
        key = None if ahead else key
        text = store.text(key) if reasons and key is not None and store is not None else None
        if text is not None:
            results[stage.id] = hashlib.sha256(text.encode()).hexdigest()
        elif not reasons and not ahead:
            results[stage.id] = rebuilder.input(stage).sha256
        will = RESTORE if text is not None else RUN if reasons else MAY_RUN if ahead else CURRENT
        never = any(reason.kind == "never" for reason in reasons)  # Then it cannot be cut off.
        upstream = [Reason("upstream", role) for role in stage.inputs if role in ahead and not never]
        verdicts[stage.id] = Verdict(stage, will, (*reasons, *upstream), key)
    rebuilder.save()
    return verdicts


def needed(plan: Plan, wanted: Iterable[str]) -> Iterator[Stage]:
    """Returns the wanted stages and all stages before them, in the plan's order: inputs first."""
    waiting, ids = list(wanted), set[str]()
    while waiting:
        id_ = waiting.pop()
        if id_ not in ids:
            ids.add(id_)
            waiting.extend(plan.stages[id_].prerequisites)
    return (stage for id_, stage in plan.stages.items() if id_ in ids)


def freshness(rebuilder: Rebuilder, stage: Stage, request: Request) -> Freshness:
    """Returns the rebuilder's answer, with the reasons traced to the user's changes.

    The folder of a shared stage with a new recipe is empty. The stage is compared with the request from which the
    artifacts of its labels were made.
    """
    result = rebuilder.freshness(request)
    reasons = result.reasons
    if reasons and reasons[0].kind == "never" and stage.home not in stage.labels:
        recorded_request = next(filter(None, (_former(rebuilder, label, stage.name) for label in stage.labels)), None)
        changed = [] if recorded_request is None else changes(recorded_request, request, rebuilder.code_table)
        return Freshness(changed or reasons)
    if any(reason.kind == "input" for reason in reasons):
        recorded_request = _request(Request.path_of(request.folder, request.stage))
        upstream = [] if recorded_request is None else _upstream_changes(rebuilder, recorded_request, request)
        return Freshness([*reasons, *(reason for reason in upstream if reason not in reasons)])
    return result


def _upstream_changes(rebuilder: Rebuilder, former: Request, now: Request) -> list[Reason]:
    """Returns the reasons for inputs in another folder: the differences between the requests of the two folders."""
    reasons: list[Reason] = []
    for role, present in now.inputs.items():
        before = former.inputs.get(role)
        if before is None or before.path == present.path:
            continue
        one, other = (_request(Request.path_of(path.parent, role)) for path in (before.path, present.path))
        if one is not None and other is not None:
            differences = [each for each in changes(one, other, rebuilder.code_table) if each.kind != "input"]
            # Values may be lists: a set cannot hold them.
            for reason in (*differences, *_upstream_changes(rebuilder, one, other)):
                if reason not in reasons:
                    reasons.append(reason)
    return reasons


def _request(path: Path) -> Request | None:
    record = recorded(path)
    return None if record is None else record.request


def _former(rebuilder: Rebuilder, label: str, name: str) -> Request | None:
    """Finds the request from which a label's artifacts were made, for a shared stage, by following their records."""
    home = rebuilder.build / label
    if not home.is_dir():  # In a first build no label has a request, and thousands of labels may share a dataset.
        return None
    path = record_of(home, name)
    return None if path is None else _request(path)


def _reasons(rebuilder: Rebuilder, stage: Stage, inputs: Mapping[str, Input]) -> tuple[list[Reason], str | None]:
    """Returns (reasons, key of the request) of a stage with these inputs; without a request, None for the key."""
    try:
        request = rebuilder.draft(stage, inputs)
        return freshness(rebuilder, stage, request).reasons, request.key
    except QatbuildError as error:
        return [Reason("blocked", now=error.in_one_line())], None


def _input(rebuilder: Rebuilder, upstream: Stage, result: str | None) -> Input:
    """Returns an upstream stage as an input: with its predicted result, or else its present one."""
    if result is not None:
        return Input(rebuilder.manifest_path(upstream), result)
    try:
        return rebuilder.input(upstream)
    except QatbuildError:
        return Input(rebuilder.manifest_path(upstream), "")
