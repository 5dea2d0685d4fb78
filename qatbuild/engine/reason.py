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

Shown = Callable[[tuple[str, ...]], str]
"""The names of a field and of those that it lies in, outermost first -> the field as text."""

_LONGEST_VALUE = 200

_TEXTS = {
    "never": "not built yet",
    "label": "{where} {now}",
    "toolchain": "{where} changed",
    "input": "the result of {where} changed",
    "result": "equal requests made different results of {where}",
    "path": "{where}: {former} -> {now}, with the same content",
    "artifact": "{where}: {now}",
    "upstream": "{where} will run; may be cut off",
}
"""Kind -> text, of the kinds whose text is no more than their parts."""


class Reason(NamedTuple):
    """One reason. The meaning of `where`, `former` and `now` depends on the `kind`.

    never      the stage has not been built
    setting    where: path of a field of the spec; former, now: its values, None for an absent field
    source     where: a source, relative to the project; former, now: its SHA-256, '' for a missing file
    code       where: module, '' if the changed one is not on record; former, now: fingerprints, None if not imported
    package    where: installed package, or an environment variable that counts; former, now: versions
    threads    former, now: numbers of threads
    input      where: upstream stage whose result changed
    result     where: upstream stage with two results from equal requests; former, now: SHA-256 of their manifests
    path       where: role of a source with the same content; former, now: its paths in the project
    artifact   where: file that differs from the published one; now: "missing", "edited", ...
    upstream   where: upstream stage that will run; if its result is equal, this stage does not run
    label      where: label; now: "is new", "could not be read then"
    toolchain  where: file that pins packages
    elsewhere  the stage is up to date, and its artifacts, all of which are wanted, are in the cache only
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
            case "setting":
                return f"{self.where}: {_value(self.former)} -> {_value(self.now)}"
            case "package" | "threads":
                return f"{self.where or self.kind}: {self.former or 'absent'} -> {self.now or 'absent'}"
            case "source" | "code":
                return f"{'code: ' if self.kind == 'code' else ''}{self.where or 'some module'} {self._fate()}"
            case _:
                return _TEXTS.get(self.kind, "{now}").format(**self._asdict())

    def _fate(self) -> str:
        return "is gone" if not self.now else "changed" if self.former else "is new"

    def to_json(self) -> dict[str, Any]:
        """Returns the reason as plain data, with its text, for scripts."""
        return {**self._asdict(), "text": self.text}


def _value(value: Any) -> str:
    return printable(canonical_json(value), _LONGEST_VALUE)


def changes(former: Request, now: Request, tables: Tables, shown: Shown = ".".join) -> list[Reason]:
    """Returns the differences of two requests of one stage. A setting that is null equals one that is absent.

    `shown` is how the path of a setting is written.
    """
    reasons = list(_code(former.code, now.code, tables))
    reasons += [Reason("input", role, *pair) for role, *pair in _pairs(_digests(former.inputs), _digests(now.inputs))]
    reasons += settings(former.settings, now.settings, shown)
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


def settings(former: Any, now: Any, shown: Shown = ".".join, path: tuple[str, ...] = ()) -> Iterator[Reason]:
    """Yields a reason for each field that differs between two settings."""
    if canonical_json(former) == canonical_json(now):
        return
    if isinstance(former, Mapping) and isinstance(now, Mapping):
        for name in sorted({*former, *now}):
            yield from settings(former.get(name), now.get(name), shown, (*path, name))
    else:
        yield Reason("setting", shown(path), former, now)


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
