"""The causes of the differences between two results: the origins of the results, and those of their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from qatbuild.engine.history.origin import Origin
from qatbuild.engine.reason import Reason, changes
from qatbuild.engine.why.archive import Archive
from qatbuild.engine.why.lines import Line, changed_lines
from qatbuild.exchange.files import canonical_json
from qatbuild.exchange.request import Request
from qatbuild.schema.diagnostics import pointer


class Side(NamedTuple):
    """One of two results: its name as it was asked for, its origin, and where the origins of its inputs are."""

    name: str
    origin: Origin
    archive: Archive


class Cause(NamedTuple):
    """One difference, the stages that it concerns, in order, and the lines of a changed module, if they are known."""

    reason: Reason
    stages: tuple[str, ...]
    lines: tuple[Line, ...] = ()


def causes(one: Side, other: Side) -> list[Cause]:
    """Returns the root causes, those of the first stages first: what differs in more than the results of inputs.

    A field of the spec is named by its JSON pointer. An input is only named if what made it is not on record.
    """
    stages: dict[str, list[str]] = {}
    reasons: dict[str, Reason] = {}
    for stage, reason in _Pairs(one.archive, other.archive).reasons(one.origin, other.origin):
        digests = () if reason.kind == "code" and not reason.where else (reason.former, reason.now)
        name = canonical_json([reason.kind, reason.where, *digests])
        reasons.setdefault(name, reason)
        if stage not in stages.setdefault(name, []):
            stages[name].append(stage)
    rows = [
        Cause(reason, tuple(stages[name]), tuple(_lines(reason, one.archive, other.archive)))
        for name, reason in reasons.items()
    ]
    roots = [row for row in rows if not _is_a_consequence(row.reason)]
    return roots or rows


def _is_a_consequence(reason: Reason) -> bool:
    """Whether a reason only says that one result has an input which the other lacks: a setting decides that."""
    return reason.kind == "input" and None in (reason.former, reason.now)


def _lines(reason: Reason, one: Archive, other: Archive) -> list[Line]:
    if reason.kind != "code" or not (reason.where and reason.former and reason.now):
        return []
    former, now = (one.text(each) or other.text(each) for each in (reason.former, reason.now))
    return [] if former is None or now is None else changed_lines(former, now)


class _Pairs:
    """Compares the origins of two results, and of their inputs, each pair once."""

    def __init__(self, one: Archive, other: Archive) -> None:
        self._one = one
        self._other = other
        self._seen = set[tuple[str, str]]()

    def reasons(self, former: Origin, now: Origin) -> Iterator[tuple[str, Reason]]:
        """Yields (stage, reason) of each difference, those of inputs first."""
        pair = former.request.key, now.request.key
        if pair in self._seen:
            return
        self._seen.add(pair)
        if pair[0] == pair[1] and former.result and now.result and former.result != now.result:
            yield now.request.stage, Reason("result", now.request.stage, former.result, now.result)
        differences = changes(former.request, now.request, self._tables, pointer)
        for each in differences:
            if each.kind == "input":
                yield from self._input(each.where, former, now, each)
        direct = [each for each in differences if each.kind != "input"]
        yield from ((now.request.stage, each) for each in _with_paths(direct, former.request, now.request))

    def _input(self, role: str, former: Origin, now: Origin, changed: Reason) -> Iterator[tuple[str, Reason]]:
        """Yields the reasons why the results of an input differ; `changed` itself if its origins are not on record."""
        keys = former.made_by.get(role, ""), now.made_by.get(role, "")
        if keys[0] and keys[0] == keys[1]:
            yield now.request.stage, Reason("result", role, changed.former, changed.now)
            return
        before = self._one.origin_of(keys[0], changed.former) if changed.former else None
        after = self._other.origin_of(keys[1], changed.now) if changed.now else None
        if before is None or after is None:
            yield now.request.stage, changed
        else:
            yield from self.reasons(before, after)

    def _tables(self, code: str) -> Mapping[str, str]:
        return self._one.table(code) or self._other.table(code)


def _with_paths(reasons: Iterable[Reason], former: Request, now: Request) -> Iterator[Reason]:
    """Yields reasons; a source with another path or role, but the same content, is one reason, not two."""
    moved = {source.sha256: role for role, source in former.sources.items() if role not in now.sources}
    pairs = {role: moved.get(source.sha256, role) for role, source in now.sources.items() if source.sha256}
    paths = set[str]()
    for role, earlier in pairs.items():
        before, after = former.sources.get(earlier), now.sources[role]
        if before is not None and before.sha256 == after.sha256 and before.path != after.path:
            paths |= {before.path.as_posix(), after.path.as_posix()}
            yield Reason("path", role.partition(" ")[0], before.path.as_posix(), after.path.as_posix())
    yield from (each for each in reasons if not (each.kind == "source" and each.where in paths))
