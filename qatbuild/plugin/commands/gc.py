"""`doit gc`: removes results and files that no spec needs, from the store and the build folder."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.engine.forecast import Verdict
from qatbuild.engine.history.garbage import OldOrigins
from qatbuild.engine.leftovers import Leftover, leftovers
from qatbuild.engine.store.local import LocalStore, Result
from qatbuild.exchange.errors import SpecError, printable
from qatbuild.exchange.lock import Owner
from qatbuild.exchange.request import Request
from qatbuild.plugin.commands.command import SpecCommand, write_json
from qatbuild.plugin.commands.option import JSON, flag, option
from qatbuild.plugin.session import Session

_DAY_SECONDS = 86_400
_GIB = 1 << 30


class Gc(SpecCommand):
    """Removes old or excess results, and leftovers, unless a spec needs them."""

    name = "gc"
    doc_purpose = "remove results and files that no spec needs"
    doc_usage = "[--dry-run] [--age DAYS] [--size GIB]"
    doc_description = (
        "Remove results and leftover files that were not used for --age days, then the oldest results until the store"
        " is within --size. Everything that a spec needs stays, here and in other checkouts that share the store."
    )
    cmd_options = (
        JSON,
        flag("dry_run", "print only"),
        option("age", 30.0, "keep what was used within this number of days [default: %(default)s]"),
        option("size", None, "largest store, in GiB", kind=float),
    )  # fmt: skip

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Removes unneeded files and prints them; returns 1 if some cannot be removed."""
        if names:
            raise SpecError("doit gc takes no labels.", [("got", " ".join(names))])
        for name in ("age", "size"):
            if not (options[name] or 0) >= 0:  # Also refuses NaN.
                raise SpecError(f"--{name} must be at least 0, got {options[name]:g}.")
        garbage = _garbage(session, options)
        gone: Sequence[_Row] = garbage.leftovers
        if not (garbage.is_empty or options["dry_run"]):  # The disk may be read-only: without garbage no lock.
            garbage, gone = _collected(session, options)
        if options["json"]:
            write_json(_fields(gone, garbage.results))
        else:
            sys.stdout.writelines(_lines(gone, garbage.results, session.project.root, dry=options["dry_run"]))
        return 0 if len(gone) == len(garbage.leftovers) else 1


class _Row(NamedTuple):
    """A leftover with its size and the time of its last use, which are unknown once it is removed."""

    leftover: Leftover
    size_bytes: int
    used: float


class _Garbage(NamedTuple):
    """What no spec needs: leftovers in the build folder, results in the store, origins of results that are gone."""

    leftovers: Sequence[_Row]
    results: Sequence[Result]
    origins: OldOrigins

    @property
    def is_empty(self) -> bool:
        """Whether all is needed."""
        return not (self.leftovers or self.results or self.origins)


def _garbage(session: Session, options: Any) -> _Garbage:
    """Finds what is to be removed. SpecError if specs have faults."""
    if session.errors:
        raise SpecError(
            "Specs with faults may need results, so gc removes nothing.",
            [("spec", name) for name in session.errors],
            "run doit check, and correct or remove these specs",
        )
    verdicts = session.forecast(session.plan.labels)
    store, build = session.builder.store, session.project.build
    oldest = time.time() - options["age"] * _DAY_SECONDS
    keys = {id_: verdict.key for id_, verdict in verdicts.items()}
    rows = [_Row(each, each.size_bytes, each.used) for each in leftovers(build, session.plan, keys)]
    results = [] if store is None else list(_unneeded(store.local, build, verdicts, oldest, options["size"]))
    there = {key for key in keys.values() if key is not None} | set(_keys(build.rglob("*.request.json")))
    if store is not None:
        there |= set(store.local.keys()) - {each.key for each in results}
    return _Garbage([row for row in rows if row.used <= oldest], results, OldOrigins(build, oldest, there))


def _collected(session: Session, options: Any) -> tuple[_Garbage, list[_Row]]:
    """Removes what is garbage once the build folder is locked; returns it, and the leftovers that are gone."""
    owner = Owner(session.project.state.lock)
    try:
        if owner.take():  # The build that held the lock may have changed what specs need.
            session = session.reload()
        garbage = _garbage(session, options)
        gone = [row for row in garbage.leftovers if row.leftover.remove(session.project.build)]
        if (store := session.builder.store) is not None:
            store.local.drop(result.key for result in garbage.results)
        garbage.origins.remove()
    finally:
        owner.give_back()
    return garbage, gone


def _unneeded(
    store: LocalStore, build: Path, verdicts: Mapping[str, Verdict], oldest: float, most_gib: float | None
) -> Iterator[Result]:
    """Yields removable results, without those that a stage uses or may use in the next build."""
    needed = {verdict.key for verdict in verdicts.values()}
    records = [Request.path_of(build / verdict.stage.home, verdict.stage.name) for verdict in verdicts.values()]
    records += [path for other in {*store.builds()} - {build} for path in other.rglob("*.request.json")]
    needed |= set(_keys(records))
    unknown = {verdict.stage.name for verdict in verdicts.values() if verdict.key is None}
    results = list(store.results())
    free = [each for each in results if each.key not in needed and each.stage not in unknown]
    free.sort(key=lambda result: result.used)
    uses = Counter(digest for result in results for digest in result.blobs)
    size_bytes = _size_bytes(results)
    for result in free:
        if result.used <= oldest or (most_gib is not None and size_bytes > most_gib * _GIB):
            uses.subtract(result.blobs.keys())
            size_bytes -= sum(size for digest, size in result.blobs.items() if not uses[digest])
            yield result


def _keys(records: Iterable[Path]) -> Iterator[str]:
    """Yields the keys of recorded requests; unreadable records are skipped."""
    for record in records:
        try:
            yield Request.read(record).key
        except (OSError, ValueError):
            continue


def _size_bytes(results: Iterable[Result]) -> int:
    return sum({digest: size for result in results for digest, size in result.blobs.items()}.values())


def _fields(freed: Iterable[_Row], dropped: Iterable[Result]) -> dict[str, Any]:
    folders = [{"path": str(row.leftover.path), "bytes": row.size_bytes, "used": row.used} for row in freed]
    results = [{"key": each.key, "stage": each.stage, "bytes": sum(each.blobs.values())} for each in dropped]
    return {"leftovers": folders, "results": results}


def _lines(freed: Sequence[_Row], dropped: Sequence[Result], root: Path, *, dry: bool) -> Iterator[str]:
    verb = "would free" if dry else "freed"
    for row in freed:
        path = row.leftover.path
        yield f"{verb}  {printable(str(path.relative_to(root) if path.is_relative_to(root) else path))}\n"
    for result in dropped:
        day = time.strftime("%Y-%m-%d", time.localtime(result.used))
        yield f"{verb}  result {result.key[:12]} of {result.stage}, last used {day}\n"
    megabytes = (sum(row.size_bytes for row in freed) + _size_bytes(dropped)) / 1e6
    yield f"{verb} {len(freed)} leftovers and {len(dropped)} results, {megabytes:.1f} MB\n"
