"""A remote store that is tried again after passing faults, and given up when it costs too much time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from qatbuild.engine.store.remote import Cause, Limits, Remote, RemoteError

T = TypeVar("T")

_TRIED_AGAIN = {Cause.PASSING, Cause.UNREACHABLE}
_HOPELESS = {Cause.UNREACHABLE, Cause.FORBIDDEN}
_MOST_FAILED = 3
"""Operations that may fail one after another: the server has a fault that will not pass during this build."""


class Retrying:
    """A remote store whose operations are tried several times, with pauses that double and differ by chance.

    When the failed attempts of all operations have taken `limits.lost_s`, or several operations failed in a row, or one
    found no server or was forbidden, every further operation fails at once: a build must not wait for a cache that is
    down.
    """

    def __init__(self, remote: Remote, limits: Limits, pause: Callable[[float], object] = time.sleep) -> None:
        """Wraps a store; `pause` waits for seconds."""
        self.remote = remote
        self.limits = limits
        self.given_up: RemoteError | None = None
        """The fault for which the store is not asked any more."""
        self._pause = pause
        self._lost_s = 0.0
        self._failed_in_a_row = 0
        self._lock = threading.Lock()

    def afresh(self) -> Retrying:
        """Returns the same store, with its open connections, which is given up for no earlier fault."""
        return Retrying(self.remote, self.limits, self._pause)

    @property
    def place(self) -> str:
        """See Remote."""
        return self.remote.place

    def read_blob(self, sha256: str, target: Path, size_bytes: int) -> bool:
        """See Remote. A cut transfer goes on where it ended."""
        return self._tried(lambda: self.remote.read_blob(sha256, target, size_bytes))

    def write_blob(self, sha256: str, source: Path) -> None:
        """See Remote."""
        self._tried(lambda: self.remote.write_blob(sha256, source))

    def has_blob(self, sha256: str) -> bool:
        """See Remote."""
        return self._tried(lambda: self.remote.has_blob(sha256))

    def read_entry(self, key: str) -> str | None:
        """See Remote."""
        return self._tried(lambda: self.remote.read_entry(key))

    def write_entry(self, key: str, text: str, blobs: Mapping[str, int]) -> None:
        """See Remote."""
        self._tried(lambda: self.remote.write_entry(key, text, blobs))

    def remove_entry(self, key: str) -> None:
        """See Remote."""
        self._tried(lambda: self.remote.remove_entry(key))

    def entries(self) -> Iterator[str]:
        """See Remote."""
        return iter(self._tried(lambda: list(self.remote.entries())))

    def _tried(self, operation: Callable[[], T]) -> T:
        for attempt in range(1, self.limits.attempts + 1):
            if self.given_up is not None:
                raise self.given_up
            began_s = time.monotonic()
            try:
                result = operation()
            except RemoteError as fault:
                is_last = fault.cause not in _TRIED_AGAIN or attempt == self.limits.attempts
                pause_s = 0.0 if is_last else self.limits.pause_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311
                self._count(fault, time.monotonic() - began_s + pause_s, is_last=is_last)
                if is_last:
                    raise
            else:
                self._failed_in_a_row = 0
                return result
            self._pause(pause_s)
        raise AssertionError("unreachable")

    def _count(self, fault: RemoteError, lost_s: float, *, is_last: bool) -> None:
        """Counts a failed attempt, and gives the store up if that was one too many."""
        with self._lock:
            self._lost_s += lost_s
            if is_last and fault.cause is not Cause.NO_WRITING:
                self._failed_in_a_row += 1
            is_hopeless = is_last and fault.cause in _HOPELESS
            if is_hopeless or self._lost_s > self.limits.lost_s or self._failed_in_a_row >= _MOST_FAILED:
                self.given_up = self.given_up or fault
