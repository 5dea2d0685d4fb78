"""The states of many files at once: ctime, size and inode of each, three int64 in an array.

A build with nothing to do mostly consists of these system calls, a hundred thousand for 5,000 specs. Threads would not
help, because each call is shorter than a switch between Python threads; so a forked process checks half of the files.
It shares the list of paths with its parent and sends back bytes. In a process with threads, for a few files, or if the
fork fails, one process checks all files.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from array import array
from collections.abc import Iterator, Sequence
from typing import NoReturn

WIDTH = 3
"""Numbers in a state."""

MISSING = (-1, -1, -1)
UNKNOWN = (0, 0, 0)
"""A state that no file has: files recorded with it are verified again."""

_FORK_FROM = 20_000
"""Least number of files for a fork; a fork takes as long as checking a few thousand files."""

_FILES_A_LOOK = 1_000
"""Files that a forked process reads before it looks whether its parent lives: a network's disk may take seconds."""

_INODE = (1 << 63) - 1
_BLOCK = 512 * WIDTH
_END = b"."
"""Sent last: without it the forked process has died."""


def states(paths: Sequence[bytes], expected: array[int] | None = None) -> array[int]:
    """Returns the states of files, following links. `expected` are likely states, which save time."""
    if len(paths) < _FORK_FROM or threading.active_count() > 1 or (os.cpu_count() or 1) == 1:
        return _states(paths)
    middle = len(paths) // 2
    rest = (expected or array("q"))[middle * WIDTH :]
    result, differing = _with_fork(paths[:middle], paths[middle:], rest)
    if differing is None:  # The other process has died.
        return result + _states(paths[middle:])
    return result + (array("q", differing) if differing else rest)


def changed(former: array[int], now: array[int]) -> Iterator[int]:
    """Yields the indices of the files with different states."""
    for block in range(0, len(now), _BLOCK):
        if now[block : block + _BLOCK] != former[block : block + _BLOCK]:
            for at in range(block, min(block + _BLOCK, len(now)), WIDTH):
                if now[at : at + WIDTH] != former[at : at + WIDTH]:
                    yield at // WIDTH


def _with_fork(mine: Sequence[bytes], others: Sequence[bytes], expected: array[int]) -> tuple[array[int], bytes | None]:
    """Returns the states of `mine`, and those of `others`, which a forked process reads.

    The process sends b'' if they are as expected. Returns None if it fails.
    """
    try:
        source, target = os.pipe()
    except OSError:
        return _states(mine), None
    parent = os.getpid()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # The child must not run the parent's handlers.
    try:
        child = os.fork()
        if child == 0:
            _answer(others, expected, parent, source, target)
    except OSError:
        os.close(source)
        os.close(target)
        return _states(mine), None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(target)
    try:
        result = _states(mine)
    finally:
        with open(source, "rb") as pipe:  # noqa: PTH123
            data = pipe.read()
        with contextlib.suppress(ChildProcessError):  # Where SIGCHLD is ignored, the system has reaped it.
            os.waitpid(child, 0)
    return result, data[: -len(_END)] if len(data) % (8 * WIDTH) == len(_END) else None


def _answer(paths: Sequence[bytes], expected: array[int], parent: int, source: int, target: int) -> NoReturn:
    """Sends the states of files from the forked process, which ends; early, if its parent has died."""
    try:
        os.close(source)  # If the parent dies, writing must fail, not wait for a reader for ever.
        now = array("q")
        for start in range(0, len(paths), _FILES_A_LOOK):
            if os.getppid() != parent:
                os._exit(1)
            now += _states(paths[start : start + _FILES_A_LOOK])
        with open(target, "wb") as pipe:
            pipe.write((b"" if now == expected else now.tobytes()) + _END)
    finally:
        os._exit(0)


def _states(paths: Sequence[bytes]) -> array[int]:
    stat, values = os.stat, array("q")
    extend = values.extend
    for path in paths:
        try:
            status = stat(path)
        except (OSError, ValueError):
            extend(MISSING)
        else:
            extend((status.st_ctime_ns, status.st_size, status.st_ino & _INODE))
    return values
