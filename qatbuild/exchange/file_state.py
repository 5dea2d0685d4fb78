"""A file's state on the disk, by which an unchanged file is recognized without reading it."""

from __future__ import annotations

import os
from collections.abc import Sequence

TICK_NS = 20_000_000
"""Two changes of a file with a longer interval than this have different ctimes where ctimes have fractions."""

_SECOND_NS = 1_000_000_000
_COARSE_TICK_NS = 2 * _SECOND_NS + TICK_NS
"""The same for ctimes in whole seconds, as of ext4 with small inodes, HFS+, some servers; of FAT in two seconds."""


def identity(status: os.stat_result) -> str:
    """Returns size, mtime, ctime and inode as one text: it differs after every edit and every replacement.

    The ctime cannot be set, so an edit that restores the mtime shows too.
    """
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def is_settled(ctime_ns: int, at_ns: int) -> bool:
    """Returns whether any change of a file at `at_ns` or later gives it another ctime than `ctime_ns`.

    The file system's tick shows in the ctime itself: without a fraction, it counts whole seconds. (One ctime in
    millions has none by chance, and is distrusted for longer than necessary.)
    """
    tick_ns = TICK_NS if ctime_ns % _SECOND_NS else _COARSE_TICK_NS
    return ctime_ns < at_ns - tick_ns


def are_settled(ctimes_ns: Sequence[int], at_ns: int) -> bool:
    """Returns whether that holds for all of these files, by one comparison for old ones."""
    newest_ns = max(ctimes_ns, default=0)
    return newest_ns < at_ns - _COARSE_TICK_NS or all(is_settled(ctime_ns, at_ns) for ctime_ns in ctimes_ns)
