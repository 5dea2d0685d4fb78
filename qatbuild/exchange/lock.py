"""Locks on files; the system releases them when their holder ends, even when it is killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


@contextlib.contextmanager
def held(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock on `path`, after waiting for it; alone, or `shared` with others who share it.

    The file stays: if it were removed, two processes could hold the lock.
    """
    try:
        descriptor = os.open(path, _FLAGS, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, _FLAGS, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def busy(path: Path) -> bool:
    """Whether a process holds the lock on `path` now. No file is created."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # Without a file no process holds the lock.
        return False
    return False


class Owner:
    """A lock for the process that may change a folder, until it gives the lock back or ends.

    The file names the process. Readers need no lock: files appear by rename.
    """

    def __init__(self, path: Path) -> None:
        """A lock file `path`, not yet locked."""
        self.path = path
        self._file: IO[str] | None = None

    @property
    def is_me(self) -> bool:
        """Whether this process holds the lock."""
        return self._file is not None

    def take(self) -> bool:
        """Take the lock; returns whether it had to wait. While it waits, stderr names the holder."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a+", encoding="utf-8")
        waited = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"waiting for another build of this folder: {self.holder()}\n")
            sys.stderr.flush()
            fcntl.flock(file, fcntl.LOCK_EX)
            waited = True
        file.truncate(0)
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        holder = json.dumps({"pid": os.getpid(), "command": command, "since": time.strftime("%H:%M:%S")})
        with contextlib.suppress(OSError):  # On a full disk the stages report the fault.
            os.write(file.fileno(), holder.encode())
        self._file = file
        return waited

    def holder(self) -> str:
        """The process that holds the lock, or held it last, in words."""
        try:
            fields = json.loads(self.path.read_text(encoding="utf-8"))
            return f"process {fields['pid']}, {fields['command']}, since {fields['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown"

    def give_back(self) -> None:
        """Release the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None
