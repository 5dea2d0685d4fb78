"""Files that arrive in parts: a cut transfer goes on in the next build, and two processes never write one file."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from qatbuild.exchange.files import make_folder, make_way


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """Yields a file for the bytes of one blob: `path`, with those of a cut transfer, or a new one if that is in use.

    The caller moves the complete file away. What is left of `path` stays, what is left of a new one is removed.
    """
    make_folder(path.parent)
    make_way(path)
    descriptor = _locked(path)
    try:
        if descriptor is not None:
            yield path
        else:
            beside = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
            try:
                yield beside
            finally:
                beside.unlink(missing_ok=True)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(path: Path) -> int | None:
    """Returns the descriptor of the locked file `path`; None if another transfer has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:  # The transfer that had it has moved it away meanwhile.
            pass
        except OSError:  # It is in use, or the file system has no locks.
            os.close(descriptor)
            return None
        os.close(descriptor)
