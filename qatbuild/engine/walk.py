"""Lists all folders and files below a folder, following links; a link to a folder above itself is skipped."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path


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
    """Returns whether a folder is a link to one of its own parents, also to one that links led to."""
    path = os.path.join(where, name)  # noqa: PTH118
    if not os.path.islink(path):  # noqa: PTH114
        return False
    target = os.path.join(os.path.realpath(path), "")  # noqa: PTH118
    above = [where, *map(str, Path(where).parents)]
    return any(os.path.join(os.path.realpath(each), "").startswith(target) for each in above)  # noqa: PTH118
