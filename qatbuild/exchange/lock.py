"""Locks on files; the system releases them when their holder ends, even when it is killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from qatbuild.exchange.files import check_regular, make_folder, read_json

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
"""O_NONBLOCK is for what is no file; a file is not opened differently."""


@contextlib.contextmanager
def held(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds the lock on `path`, after waiting for it; alone, or `shared` with others who share it.

    The file stays: if it were removed, two processes could hold the lock. So nothing else in its place is removed
    either: OSError, with the path, for that and for a file that cannot be opened or locked.
    """
    try:
        descriptor = _opened(path)
    except OSError as fault:
        if not shared or fault.errno not in {errno.EACCES, errno.EROFS}:
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # A folder that can only be read.
    try:
        _flock(descriptor, path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        descriptor = os.open(path, _FLAGS, 0o666)
    except FileNotFoundError:
        make_folder(path.parent)
        descriptor = os.open(path, _FLAGS, 0o666)
    try:
        check_regular(descriptor, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _flock(descriptor: int, path: Path, how: int) -> None:
    """Locks an open file. OSError, with the path, where the file system has no locks."""
    try:
        fcntl.flock(descriptor, how)
    except OSError as fault:
        fault.filename = str(path)
        raise


def busy(path: Path) -> bool:
    """Whether a process holds the lock on `path` now. No file is created."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # Without a file no process holds the lock.
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


class Owner:
    """A lock for the process that may change a folder, until it gives the lock back or ends.

    The file names the process. Readers need no lock: files appear by rename.
    """

    def __init__(self, path: Path) -> None:
        """A lock file `path`, not yet locked."""
        self.path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Takes the lock; returns whether it had to wait. While it waits, stderr names the holder.

        OSError, with the path, if it cannot be taken.
        """
        descriptor = _opened(self.path)
        try:
            waited = self._wait(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        holder = json.dumps({"pid": os.getpid(), "command": command, "since": time.strftime("%H:%M:%S")})
        with contextlib.suppress(OSError):  # On a full disk the stages report the fault.
            os.ftruncate(descriptor, 0)
            os.write(descriptor, holder.encode())
        self._descriptor = descriptor
        return waited

    def _wait(self, descriptor: int) -> bool:
        try:
            _flock(descriptor, self.path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with contextlib.suppress(OSError):  # The wait goes on where stderr cannot be written.
                sys.stderr.write(f"waiting for another build of this folder: {self.holder()}\n")
                sys.stderr.flush()
            _flock(descriptor, self.path, fcntl.LOCK_EX)
            return True
        return False

    def holder(self) -> str:
        """The process that holds the lock, or held it last, in words."""
        try:
            fields = read_json(self.path)
            return f"process {fields['pid']}, {fields['command']}, since {fields['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown"

    def give_back(self) -> None:
        """Releases the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
