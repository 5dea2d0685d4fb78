"""Which files of the project a stage opens, as Python's audit events tell: so that an undeclared input is found.

What Python opens is seen, whoever asks for it: the network's own code, json, numpy. What TensorFlow's C++ code opens by
itself is not, nor what another process does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_PACKAGE = str(Path(__file__).parents[1])

_seen: set[str] | None = None
_installed = False


@contextlib.contextmanager
def watching() -> Iterator[set[str]]:
    """The paths that this process opens for reading meanwhile, as they are spelt."""
    global _seen, _installed  # noqa: PLW0603  An audit hook is the process's, and is never removed.
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    seen: set[str] = set()
    _seen = seen
    try:
        yield seen
    finally:
        _seen = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _seen is not None:
        path, _, flags = arguments
        reads = not (isinstance(flags, int) and flags & os.O_ACCMODE == os.O_WRONLY)
        if reads and isinstance(path, str | bytes | os.PathLike):
            _seen.add(os.fsdecode(path))


def inside(seen: Iterable[str], project: Path, build: Path) -> list[str]:
    """The paths, relative to the project, of its files that were opened; not the build's own, nor installed ones."""
    root = str(project)
    outside = [str(build), _PACKAGE, *{sys.prefix, sys.base_prefix} - {root}]
    found = set()
    for path in seen:
        file = os.path.abspath(_source(path))  # noqa: PTH100  As it is spelt: links are the user's.
        if file.startswith(root + os.sep) and not any(file.startswith(each + os.sep) for each in outside):
            parts = Path(file).relative_to(root).parts
            if not {"site-packages", "dist-packages", ".git"} & set(parts) and Path(file).is_file():
                found.add("/".join(parts))
    return sorted(found)


def _source(path: str) -> str:
    """The source of a compiled module; any other path as it is."""
    if path.endswith(".pyc"):
        with contextlib.suppress(ValueError):
            return importlib.util.source_from_cache(path)
    return path
