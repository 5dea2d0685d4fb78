"""One at a time: locks that the system gives back when their holder dies, however it dies."""

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


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait for the lock on `path`, hold it, give it back. The file stays: removing it would let two hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def busy(path: Path) -> bool:
    """Whether somebody holds the lock on `path` at this moment. Looking leaves no file: its folder would seem used."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # No file, no holder.
        return False
    return False


class Owner:
    """The one process that may change a folder, until it gives the lock back or ends. The lock's file says who it is.

    Whoever only looks needs no lock: what is looked at appears by rename.
    """

    def __init__(self, path: Path) -> None:
        """The owner of what the lock file `path` stands for; not yet."""
        self.path = path
        self._file: IO[str] | None = None

    @property
    def is_me(self) -> bool:
        """Whether this process holds the lock."""
        return self._file is not None

    def take(self) -> bool:
        """Hold the lock; whether it had to be waited for. Who is waited for is said on stderr."""
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
        said = json.dumps({"pid": os.getpid(), "command": command, "since": time.strftime("%H:%M:%S")})
        with contextlib.suppress(OSError):  # On a full disk nobody reads who it is, and the stages say what is wrong.
            os.write(file.fileno(), said.encode())
        self._file = file
        return waited

    def holder(self) -> str:
        """Who holds the lock, or held it last, in words."""
        try:
            said = json.loads(self.path.read_text(encoding="utf-8"))
            return f"process {said['pid']}, {said['command']}, since {said['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown"

    def give_back(self) -> None:
        """Let others in."""
        if self._file is not None:
            self._file.close()
            self._file = None
