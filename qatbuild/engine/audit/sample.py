"""The order in which results are audited, and how far it has come.

Keys are ordered by a seeded hash, without a clock, and every audit goes on where the last one ended. With M results
and k of them an audit, any ceil(M / k) audits in a row look at each result at least once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterable

from qatbuild.engine.store import Store
from qatbuild.engine.store.remote import RemoteError, named
from qatbuild.engine.store.shared import SharedStore
from qatbuild.exchange.files import parse_json, read_text, write_text

_SEED = "qatbuild audit"


def position(key: str) -> str:
    """Returns where a key stands in the order of all audits."""
    return hashlib.sha256(f"{_SEED} {key}".encode()).hexdigest()


def from_position(keys: Iterable[str], after: str) -> list[str]:
    """Returns the keys in order, beginning behind a position, and once around."""
    ordered = sorted(set(keys), key=position)
    return [key for key in ordered if position(key) > after] + [key for key in ordered if position(key) <= after]


def count(share: float, results: int) -> int:
    """Returns how many results a share (0 to 1) of them is; at least one, if there is any."""
    return min(results, max(1, math.ceil(share * results)))


class Progress:
    """The position of the last audited result: in the cache, for machines that begin empty, and in the local store."""

    def __init__(self, store: Store) -> None:
        """Opens the progress of a store's audits."""
        self._remote = store.remote if isinstance(store, SharedStore) else None
        self._file = store.local.root / "audit.json"

    def read(self) -> str:
        """Returns the position; '' before the first audit."""
        text: str | None = None
        if self._remote is not None:
            with contextlib.suppress(RemoteError):
                text = self._remote.read_entry(_NAME)
        if text is None:
            with contextlib.suppress(OSError, ValueError):
                text = read_text(self._file)
        with contextlib.suppress(ValueError, AttributeError):
            return str(parse_json(text or "{}").get("position", ""))
        return ""

    def write(self, place: str) -> None:
        """Keeps a position. Where nothing can be written, the next audit begins where this one did."""
        text = json.dumps({"position": place})
        with contextlib.suppress(OSError):
            write_text(self._file, text)
        if self._remote is not None:
            with contextlib.suppress(RemoteError):
                self._remote.write_entry(_NAME, text, {})


_NAME = named("audit")
