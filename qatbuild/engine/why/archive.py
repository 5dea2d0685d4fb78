"""Where origins and code are looked up: the state folders of build folders, the store, and the cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from qatbuild.engine.history.code_archive import CodeArchive
from qatbuild.engine.history.log import OriginLog
from qatbuild.engine.history.origin import Origin
from qatbuild.engine.recorded import input_records, recorded
from qatbuild.engine.state_folder import StateFolder
from qatbuild.engine.store import Store
from qatbuild.engine.store.code import Bundle
from qatbuild.engine.store.remote import RemoteError
from qatbuild.engine.store.shared import SharedStore
from qatbuild.exchange.files import file_sha256
from qatbuild.exchange.manifest import Manifest

_KEY_DIGITS = 64


class Archive:
    """Origins by key, and code by digest, of several build folders and a store; those of the first one win."""

    def __init__(self, builds: Iterable[Path], store: Store | None) -> None:
        """Opens the archives of build folders, of which some may have none, and of a store."""
        states = [StateFolder.of(build) for build in dict.fromkeys(builds)]
        self._logs = [OriginLog(state.origins) for state in states]
        self._codes = [CodeArchive(state.code) for state in states]
        self._store = store
        self._shared = store.code if isinstance(store, SharedStore) else None
        self._bundles: dict[str, Bundle] = {}
        """Code that the cache has, by code digest."""
        self._read: dict[Path, Origin | None] = {}
        """Origins from records beside results, by path of the record."""

    def origin(self, key: str) -> Origin | None:
        """Returns the origin of the result with this key; None if none is on record."""
        return next(self._origins(key), None)

    def origin_of(self, key: str, result: str) -> Origin | None:
        """Returns the origin of an input, given the key and the digest of its manifest; None if none is on record."""
        return next((each for each in self._origins(key) if each.result == result), None)

    def _origins(self, key: str) -> Iterator[Origin]:
        yield from (each for each in self._read.values() if each is not None and each.request.key == key)
        yield from filter(None, (log.origin(key) for log in self._logs))
        entry = None if self._store is None else self._store.entry(key)
        if entry is not None and entry.origin is not None:
            yield entry.origin

    def keys(self, prefix: str) -> set[str]:
        """Returns the keys on record that begin with these hexadecimal digits; the cache is only asked without any."""
        logged = {key for log in self._logs for key in log.rows if key.startswith(prefix)}
        if logged or self._store is None:
            return logged
        if len(prefix) == _KEY_DIGITS:
            return {prefix} if self._store.entry(prefix) is not None else set()
        with contextlib.suppress(NotImplementedError):  # bazel-remote lists no keys: a prefix finds none there.
            return {key for key in self._store.keys() if key.startswith(prefix)}  # noqa: SIM118  A store is no dict.
        return set()

    def at(self, key: str) -> int | None:
        """Returns when a result was first published, in seconds since the epoch; None if that is not on record."""
        return next((log.rows[key].at for log in self._logs if key in log.rows), None)

    def table(self, code: str) -> Mapping[str, str]:
        """Returns module -> fingerprint for a code digest; empty if it is not on record."""
        return next(filter(None, (each.table(code) for each in self._codes)), None) or self._bundle(code).table

    def text(self, fingerprint: str) -> str | None:
        """Returns the text of a module with this fingerprint; None if it is not on record."""
        texts = (*(each.text(fingerprint) for each in self._codes), *self._bundled(fingerprint))
        return next(filter(None, texts), None)

    def _bundle(self, code: str) -> Bundle:
        """Returns what the cache has of a code digest; without an answer of it, nothing."""
        if code not in self._bundles:
            self._bundles[code] = Bundle({}, {})
            if self._shared is not None:
                with contextlib.suppress(RemoteError):
                    self._bundles[code] = self._shared.bundle(code)
        return self._bundles[code]

    def _bundled(self, fingerprint: str) -> list[str]:
        return [each.texts[fingerprint] for each in self._bundles.values() if fingerprint in each.texts]

    def read(self, path: Path) -> Origin | None:
        """Reads the record beside a result, and those beside its inputs; returns its origin, None without one."""
        if path not in self._read:
            self._read[path] = None  # A record that were its own input would be read for ever.
            self._read[path] = self._read_with_inputs(path)
        return self._read[path]

    def _read_with_inputs(self, path: Path) -> Origin | None:
        if (record := recorded(path)) is None:
            return None
        made_by = {}
        for role, file in input_records(path, record).items():
            upstream = self.read(file)
            is_its_result = upstream is not None and upstream.result == record.request.inputs[role].sha256
            made_by[role] = upstream.request.key if upstream and is_its_result else ""
        logged = next(filter(None, (log.origin(record.request.key) for log in self._logs)), None)
        kept = {role: key for role, key in (logged.made_by if logged else {}).items() if key}
        return Origin.placeless(record.request, {**made_by, **kept}, _result(path, record.request.stage))


def _result(record: Path, stage: str) -> str:
    """Returns the SHA-256 of the manifest beside a record; '' without one."""
    try:
        return file_sha256(Manifest.path_of(record.parent, stage))
    except OSError:
        return ""
