"""The reasons for running a stage, as data: one value for each change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.errors import printable
from qatbuild.exchange.files import canonical_json
from qatbuild.exchange.request import Request

Tables = Callable[[str], Mapping[str, str]]
"""Code digest -> module -> fingerprint; empty for an unrecorded digest."""

_LONGEST_VALUE = 200


class Reason(NamedTuple):
    """One reason. The meaning of `where`, `former` and `now` depends on the `kind`.

    never      the stage has not been built
    setting    where: path of a field of the spec; former, now: its values, None for an absent field
    source     where: a source, relative to the project; former, now: its SHA-256, '' for a missing file
    code       where: module, '' if the changed one is not on record; former, now: fingerprints, None if not imported
    package    where: installed package, or an environment variable that counts; former, now: versions
    threads    former, now: numbers of threads
    input      where: upstream stage whose result changed
    artifact   where: file that differs from the published one; now: "missing", "edited", ...
    upstream   where: upstream stage that will run; if its result is equal, this stage does not run
    label      where: label; now: "is new", "could not be read then"
    toolchain  where: file that pins packages
    blocked    now: why no answer is possible yet, in a sentence
    """

    kind: str
    where: str = ""
    former: Any = None
    now: Any = None

    @property
    def text(self) -> str:
        """The reason in a few words, on one printable line: 'train.learning_rate.initial: 0.05 -> 0.1'."""
        return printable(self._text())

    def _text(self) -> str:
        match self.kind:
            case "never":
                return "not built yet"
            case "setting":
                return f"{self.where}: {_value(self.former)} -> {_value(self.now)}"
            case "package" | "threads":
                return f"{self.where or self.kind}: {self.former or 'absent'} -> {self.now or 'absent'}"
            case "label":
                return f"{self.where} {self.now}"
            case "toolchain":
                return f"{self.where} changed"
            case "source" | "code":
                return f"{'code: ' if self.kind == 'code' else ''}{self.where or 'some module'} {self._fate()}"
            case "input":
                return f"the result of {self.where} changed"
            case "artifact":
                return f"{self.where}: {self.now}"
            case "upstream":
                return f"{self.where} will run; may be cut off"
            case _:
                return str(self.now)

    def _fate(self) -> str:
        return "is gone" if not self.now else "changed" if self.former else "is new"

    def to_json(self) -> dict[str, Any]:
        """Returns the reason as plain data, with its text, for scripts."""
        return {**self._asdict(), "text": self.text}


def _value(value: Any) -> str:
    return printable(canonical_json(value), _LONGEST_VALUE)


def changes(former: Request, now: Request, tables: Tables) -> list[Reason]:
    """Returns the differences of two requests of one stage. A setting that is null equals one that is absent."""
    reasons = list(_code(former.code, now.code, tables))
    reasons += [Reason("input", role, *pair) for role, *pair in _pairs(_digests(former.inputs), _digests(now.inputs))]
    reasons += settings(former.settings, now.settings)
    reasons += [
        Reason("source", _shown(role, now if role in now.sources else former), *pair)
        for role, *pair in _pairs(_digests(former.sources), _digests(now.sources))
    ]
    if former.threads != now.threads:
        reasons.append(Reason("threads", "", former.threads, now.threads))
    reasons += [Reason("package", name, *pair) for name, *pair in _pairs(former.toolchain, now.toolchain)]
    return reasons


def _code(former: str, now: str, tables: Tables) -> Iterator[Reason]:
    if former == now:
        return
    old, new = tables(former), tables(now)
    pairs = list(_pairs(old, new)) if old and new else []
    yield from (Reason("code", module, *pair) for module, *pair in pairs)
    if not pairs:
        yield Reason("code", "", former, now)


def settings(former: Any, now: Any, path: str = "") -> Iterator[Reason]:
    """Yields a reason for each field that differs between two settings."""
    if canonical_json(former) == canonical_json(now):
        return
    if isinstance(former, Mapping) and isinstance(now, Mapping):
        for name in sorted({*former, *now}):
            yield from settings(former.get(name), now.get(name), f"{path}.{name}" if path else name)
    else:
        yield Reason("setting", path, former, now)


def _pairs(former: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yields (name, former value, present value) of each difference; None for an absent value."""
    for name in sorted({*former, *now}):
        if former.get(name) != now.get(name):
            yield name, former.get(name), now.get(name)


def _digests(items: Mapping[str, Any]) -> dict[str, str]:
    return {role: item.sha256 for role, item in items.items()}


def _shown(role: str, request: Request) -> str:
    path = request.sources[role].path
    inside = path.is_relative_to(request.project)
    return (path.relative_to(request.project) if inside else Path(path)).as_posix()
