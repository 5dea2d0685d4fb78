"""Audits results that a project would use: the writer of a wrong one goes into quarantine, the right one is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from qatbuild.engine.audit.comparison import differences
from qatbuild.engine.audit.rebuilding import NotRebuiltError, Rebuilding
from qatbuild.engine.execute import Executor
from qatbuild.engine.forecast import Verdict
from qatbuild.engine.history.makers import Makers
from qatbuild.engine.history.origin import Origin
from qatbuild.engine.rebuild import Rebuilder
from qatbuild.engine.store import Store
from qatbuild.engine.store.entry import Entry, Writer
from qatbuild.engine.store.shared import SharedStore
from qatbuild.engine.store.withdrawal import withdraw
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.published import ran_on
from qatbuild.exchange.request import Request


class Judgement(StrEnum):
    """What an audit says about a kept result."""

    EQUAL = "equal"
    WRONG = "wrong"
    """Built twice more, the result was equal to itself and not to the one kept, on the same kind of processor."""
    NOT_COMPARABLE = "not comparable"
    """It differs, and was made on another kind of processor, where floats may differ in their last bit."""
    NOT_REPRODUCIBLE = "not reproducible"
    """Built twice more here, it differs from itself: the stage is at fault, not the writer."""
    NOT_REBUILT = "not rebuilt"


class Finding(NamedTuple):
    """The judgement of one kept result, with what differs, or the reason why it could not be rebuilt."""

    verdict: Verdict
    entry: Entry
    judgement: Judgement
    details: tuple[str, ...] = ()


class Auditor:
    """Audits the entries of a store: those of the cache, if the project has one."""

    def __init__(self, rebuilder: Rebuilder, store: Store, executor: Executor, verdicts: Mapping[str, Verdict]) -> None:
        """Begins with the verdicts of the stages to audit and of all before them, by id."""
        self._store = store
        self._rebuilding = Rebuilding(rebuilder, store, executor, verdicts)
        self._by_key = {verdict.key: verdict for verdict in verdicts.values() if verdict.key is not None}

    def findings(self, keys: Iterable[str]) -> Iterator[Finding]:
        """Yields the finding about each of these keys that has a trusted entry. Acts on a wrong one at once."""
        with self._rebuilding.alone():
            for key in keys:
                entry = self._entry(key)
                if entry is not None and not self._store.is_quarantined(entry):
                    yield self._finding(self._by_key[key], entry)

    def _entry(self, key: str) -> Entry | None:
        return self._store.remote_entry(key) if isinstance(self._store, SharedStore) else self._store.entry(key)

    def _finding(self, verdict: Verdict, entry: Entry) -> Finding:
        try:
            request, made = self._rebuilding.manifest(verdict)
            differing = differences(entry, made, self._store)
            if not differing:
                return Finding(verdict, entry, Judgement.EQUAL)
            if entry.writer.processor != (ran_on(request.folder, request) or Writer.here().processor):
                return Finding(verdict, entry, Judgement.NOT_COMPARABLE, tuple(differing))
            first = made.to_json()
            request, made = self._rebuilding.manifest(verdict)
        except NotRebuiltError as fault:
            return Finding(verdict, entry, Judgement.NOT_REBUILT, (str(fault),))
        if made.to_json() != first:
            return Finding(verdict, entry, Judgement.NOT_REPRODUCIBLE, tuple(differing))
        self._replace(entry, request, made)
        return Finding(verdict, entry, Judgement.WRONG, tuple(differing))

    def _replace(self, entry: Entry, request: Request, made: Manifest) -> None:
        """Distrusts the writer of a wrong result, withdraws all that came from it, and keeps the right result."""
        reason = f"the result {entry.key[:12]} of {entry.stage} was wrong"
        withdraw(self._store.local, {entry.writer.id}, self._store.entry)
        self._store.quarantine(entry.writer.id, reason)  # Last: an audit that is cut off before is made again.
        origin = Origin.of(request, made.to_json(), Makers().of(request))
        self._store.keep(request, made, origin)
        self._store.finish()
