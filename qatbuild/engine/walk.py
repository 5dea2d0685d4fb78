"""Lists all folders and files below a folder, following links; a link to a folder above itself is skipped."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection


def tree(
    folder: str, skip: Collection[str] = (), unreadable: Callable[[OSError], object] | None = None
) -> tuple[list[str], list[str]]:
    """Returns (folders, files) at and below a folder, in any order, without folders named in `skip`.

    `unreadable` is called for a folder that cannot be read, which is otherwise left out.
    """
    folders, files = [], []
    for where, below, names in os.walk(folder, followlinks=True, onerror=unreadable):
        below[:] = [name for name in below if name not in skip and not _circle(where, name)]
        folders.append(where)
        files += [os.path.join(where, name) for name in names]  # noqa: PTH118  One object a file would be felt.
    return folders, files


def _circle(where: str, name: str) -> bool:
    """Returns whether a folder is a link to one of its own parents."""
    path = os.path.join(where, name)  # noqa: PTH118
    if not os.path.islink(path):  # noqa: PTH114
        return False
    target = os.path.realpath(path)
    return f"{os.path.realpath(where)}{os.sep}".startswith(f"{target}{os.sep}")
