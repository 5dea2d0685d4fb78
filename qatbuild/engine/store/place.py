"""Places a file's content under a second name: by reflink if the file system has it, else hard link, else copy."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

from qatbuild.exchange.files import make_folder

_FICLONE = 0x40049409
"""Linux' ioctl that makes two files share their blocks until one of them changes."""

_NO_CLONES = {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV, errno.ENOSYS}
"""The errors of systems on which files cannot share blocks."""

_linked_devices: set[tuple[int, int]] = set()
"""(device of the source, device of the target) for which cloning was refused: a build places thousands of files."""


def place(source: Path, target: Path) -> None:
    """Gives `target`, which must not exist, the content of `source`; creates its folder if needed.

    A hard link is one file with two names: writing to it changes both. So a file from a store must be compared with its
    digest first.
    """
    try:
        _place(source, target)
    except FileNotFoundError:
        make_folder(target.parent)
        _place(source, target)


def takes_links(device: int) -> bool:
    """Returns whether `place` makes hard links within a device, because it has tried to clone a file there."""
    return (device, device) in _linked_devices


def _place(source: Path, target: Path) -> None:
    status = os.stat(source)  # noqa: PTH116  Often.
    if not stat.S_ISREG(status.st_mode):  # A FIFO could be linked, and opening it would wait.
        raise OSError(errno.ENOTSUP, "Not a regular file", str(source))
    devices = status.st_dev, os.stat(target.parent).st_dev  # noqa: PTH116
    if devices not in _linked_devices and _cloned(source, target, devices):
        return
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # Another file system, or one without links, or too many of them.
        shutil.copyfile(source, target)


def _cloned(source: Path, target: Path, devices: tuple[int, int]) -> bool:
    try:
        with source.open("rb") as old, target.open("xb") as new:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
    except OSError as fault:
        if fault.errno in _NO_CLONES:
            _linked_devices.add(devices)
        with contextlib.suppress(OSError):
            target.unlink()
        return False
    return True
