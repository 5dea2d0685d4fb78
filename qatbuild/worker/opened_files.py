"""Files of the project that a stage opens, from Python's audit events, for finding undeclared inputs.

Files that Python opens are seen, also for the network's code, json and numpy. Files that TensorFlow's C++ code or
another process opens are not.
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
_declared: tuple[str, ...] = ()
_installed = False


@contextlib.contextmanager
def watching(declared: Iterable[Path] = ()) -> Iterator[set[str]]:
    """Collects the paths that this process opens for reading, without resolving links.

    Those below a `declared` folder are left out: it may hold a hundred thousand pictures.
    """
    global _seen, _declared, _installed  # noqa: PLW0603  An audit hook is the process's, and is never removed.
    _declared = tuple(f"{path}{os.sep}" for path in declared)
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
            name = os.fsdecode(path)
            if not name.startswith(_declared):
                _seen.add(name)


def inside(seen: Iterable[str], project: Path, build: Path) -> list[str]:
    """Returns the opened files of the project, relative to it, without files of the build and of installed packages."""
    root = str(project)
    outside = [str(build), _PACKAGE, *{sys.prefix, sys.base_prefix} - {root}]
    files = set()
    for path in seen:
        file = os.path.abspath(_source(path))  # noqa: PTH100  Links are not resolved: users make them.
        if file.startswith(root + os.sep) and not any(file.startswith(each + os.sep) for each in outside):
            parts = Path(file).relative_to(root).parts
            if not {"site-packages", "dist-packages", ".git"} & set(parts) and Path(file).is_file():
                files.add("/".join(parts))
    return sorted(files)


def _source(path: str) -> str:
    """Returns the source of a compiled module; any other path unchanged."""
    if path.endswith(".pyc"):
        with contextlib.suppress(ValueError):
            return importlib.util.source_from_cache(path)
    return path
