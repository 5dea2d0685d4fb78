"""Finds the results of planned stages without building: in the build folder, the store, or the shared cache.

A key covers the results of earlier stages, so the keys of a chain are computed one stage after the other, as far as
results exist. Stages that wait for the same results are looked up together, because a server may be far away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.engine.forecast import needed
from qatbuild.engine.plan import Plan, Stage
from qatbuild.engine.reason import Reason
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.engine.store import Store
from qatbuild.engine.store.entry import Entry
from qatbuild.engine.store.local import LocalStore
from qatbuild.exchange.errors import QatbuildError
from qatbuild.exchange.files import canonical_json, file_sha256, read_json, read_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.published import NO_MANIFEST, Record, published_sha256
from qatbuild.exchange.request import Input, Request

_AT_ONCE = 16
"""Results that are asked for at the same time: a look-up waits for the disk or a server."""


class Result(NamedTuple):
    """The result of a request: the text of its manifest, NO_MANIFEST of a refused model, and where it lies.

    It is published in `folder`, or kept in the store as `entry`. `unlike` says in which packages, threads or code the
    request that made it differs; () for the same request.
    """

    text: str
    folder: Path | None = None
    entry: Entry | None = None
    unlike: tuple[Reason, ...] = ()


class Absent(NamedTuple):
    """A stage without a result, which others wait for, and why it has none: the end of a sentence that it begins."""

    stage: str
    why: str

    def reason(self, label: str) -> str:
        """Returns the sentence for a label that needs the stage: "cnn:float is neither built nor kept"."""
        return f"{label}:{self.stage}{self.why}"


@dataclass(frozen=True)
class Alike:
    """Finds results in a local store by what they are about: settings, inputs and data, whatever computed them."""

    store: LocalStore

    def to(self, request: Request) -> Result | None:
        """Returns the result of the request that differs least; of several, that with the first key."""
        rows = [
            (_unlike(entry.identity, request.identity), entry)
            for entry in self._entries.get(_subject(request.identity), ())
        ]
        if not rows:
            return None
        unlike, entry = min(rows, key=lambda row: (len(row[0]), row[1].key))
        return Result(entry.text, entry=entry, unlike=unlike)

    @cached_property
    def _entries(self) -> dict[str, list[Entry]]:
        by_subject: dict[str, list[Entry]] = {}
        for key in self.store.keys():  # noqa: SIM118  It is no mapping.
            entry = self.store.entry(key)
            if entry is not None and entry.identity and not self.store.is_quarantined(entry):
                by_subject.setdefault(_subject(entry.identity), []).append(entry)
        return by_subject


@dataclass(frozen=True)
class ExistingResults:
    """Looks up results of one plan.

    `located` gives a stage the places of its sources; by default they are those of the plan. Where there is no result
    of a request, `alike` may have one of the same settings, inputs and data, made with other packages, threads or code.
    """

    plan: Plan
    rebuilder: Rebuilder
    store: Store | None
    located: Callable[[Stage], Stage] = lambda stage: stage
    alike: Alike | None = None

    def of(self, wanted: Iterable[str]) -> dict[str, Result | Absent]:
        """Returns stage id -> its result, or why it has none, for the wanted ids and everything they depend on."""
        answers: dict[str, Result | Absent] = {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for wave in _waves(list(needed(self.plan, wanted))):
                asked: dict[str, Request] = {}
                for stage in wave:
                    request = self._request(stage, answers)
                    if isinstance(request, Absent):
                        answers[stage.id] = request
                    else:
                        asked[stage.id] = request
                for id_, result in zip(asked, pool.map(self._result, asked.values()), strict=True):
                    alike = self.alike.to(asked[id_]) if result is None and self.alike is not None else None
                    answers[id_] = result or alike or Absent(asked[id_].stage, " is neither built nor kept")
        return answers

    def reports(self, results: Mapping[str, Result]) -> dict[str, dict[str, Any] | None]:
        """Returns stage id -> report.json of an evaluation, or route.json of a route; None if it is not sound."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(results, pool.map(self._report, results, results.values()), strict=True))

    def _report(self, id_: str, result: Result) -> dict[str, Any] | None:
        stage = self.plan.stages[id_]
        name = "route.json" if stage.route else "report.json"
        try:
            path = self._path(result, stage, name)
            value = None if path is None else read_json(path)
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def _path(self, result: Result, stage: Stage, name: str) -> Path | None:
        """Returns the file with an artifact's content, as it was published."""
        if result.folder is not None:
            path = result.folder / name
            return path if published_sha256(result.folder, stage.name, name) == file_sha256(path) else None
        if self.store is None or result.entry is None or name not in result.entry.files:
            return None
        size_bytes, sha256 = result.entry.files[name]
        return self.store.blob(sha256, size_bytes)

    def _request(self, stage: Stage, answers: Mapping[str, Result | Absent]) -> Request | Absent:
        inputs = {}
        for role, id_ in stage.inputs.items():
            answer = answers[id_]
            if isinstance(answer, Absent):
                return answer
            if answer.text == NO_MANIFEST:
                return Absent(self.plan.stages[id_].name, " was refused")
            path = self.rebuilder.manifest_path(self.plan.stages[id_])
            inputs[role] = Input(path, hashlib.sha256(answer.text.encode()).hexdigest())
        try:
            return self.rebuilder.draft(self.located(stage), inputs)
        except QatbuildError as error:
            return Absent(stage.name, f": {error.in_one_line()}")

    def _result(self, request: Request) -> Result | None:
        if (published := _published(request)) is not None:
            return published
        entry = self.store.entry(request.key) if self.store is not None else None
        if self.store is None or entry is None or self.store.is_quarantined(entry):
            return None
        return Result(entry.text, entry=entry)


def _subject(identity: Mapping[str, Any]) -> str:
    """Returns a text that is the same for requests about the same thing."""
    return canonical_json([identity.get(name) for name in ("stage", "settings", "inputs", "sources")])


def _unlike(former: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Reason, ...]:
    """Returns in what two requests about the same thing differ."""
    before, after = former["toolchain"], now["toolchain"]
    reasons = [Reason("package", name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
    reasons += [
        Reason("threads", "", former["threads"], now["threads"]),
        Reason("code", "", former["code"], now["code"]),
    ]
    return tuple(reason for reason in reasons if reason.former != reason.now)


def _published(request: Request) -> Result | None:
    """Returns the result in the build folder, if it is this request's."""
    path = Manifest.path_of(request.folder, request.stage)
    try:
        record = Record.read(Request.path_of(request.folder, request.stage))
        text = read_text(path) if path.is_file() else NO_MANIFEST
    except (OSError, ValueError):
        return None
    is_its = record.request.key == request.key and record.belongs_to(text)
    return Result(text, request.folder) if is_its else None


def _waves(stages: Sequence[Stage]) -> Iterator[list[Stage]]:
    """Yields stages in groups that only depend on earlier groups. `stages` has inputs first, and all of them."""
    depths: dict[str, int] = {}
    for stage in stages:
        depths[stage.id] = 1 + max((depths[id_] for id_ in stage.inputs.values()), default=-1)
    waves: list[list[Stage]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for stage in stages:
        waves[depths[stage.id]].append(stage)
    yield from waves
