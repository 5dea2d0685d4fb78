"""Changes of the files that pin packages: in a comparison of revisions they stand for the installed packages.

git does not contain the installed packages themselves.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePosixPath
from typing import Any

from qatbuild.engine.reason import Reason

_PINS = (
    "requirements*.txt", "constraints*.txt", "uv.lock", "poetry.lock", "pdm.lock", "pylock*.toml", "Pipfile*",
    "environment*.y*ml", ".python-version",
)  # fmt: skip


def changed_pins(then: Path, now: Path, inside: Path, changed: AbstractSet[str]) -> Iterator[Reason]:
    """Yields a reason for each file that pins packages of a project, and has changed.

    `then` and `now` are the project's folder at both times, `inside` its place in the repository; `changed` are the
    files of the repository that differ. Pins of the folders above the project count, too.
    """
    above = {"", *(folder.as_posix() for folder in (inside, *inside.parents))} - {"."}
    for name in sorted(changed):
        path = PurePosixPath(name)
        folder = "" if path.parent == PurePosixPath() else path.parent.as_posix()
        if folder in above and any(path.match(pattern) for pattern in _PINS):
            yield Reason("toolchain", name)
    if _requirements(then / "pyproject.toml") != _requirements(now / "pyproject.toml"):
        yield Reason("toolchain", "dependencies in pyproject.toml")


def _requirements(file: Path) -> list[Any]:
    """Returns the packages that a pyproject.toml requires."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        document = {}
    project, tool = document.get("project", {}), document.get("tool", {})
    fields = [project.get(name) for name in ("requires-python", "dependencies", "optional-dependencies")]
    return [*fields, document.get("dependency-groups"), *(tool.get(name) for name in ("uv", "poetry", "pdm"))]
