"""The places that a spec may name: files and code inside the project, or what its settings allow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.schema.faults import Fault
from qatbuild.schema.model import PATHS
from qatbuild.schema.rules.reading import at, objects

_NAME_BYTES, _PATH_BYTES = 255, 4095


class AllowedPaths(NamedTuple):
    """The paths allowed in a spec: files below `root` or one of `allowed`, code below `root`."""

    root: Path
    allowed: tuple[Path, ...] = ()

    def holds(self, path: Path | str) -> bool:
        """Returns whether a path is allowed. Links are not resolved: a link inside the project may lead anywhere."""
        normal = f"{os.path.normpath(path)}{os.sep}"
        return any(normal.startswith(os.path.join(place, "")) for place in (self.root, *self.allowed))  # noqa: PTH118

    def module(self, name: str) -> Path | None:
        """Returns the file of a Python module below the root, or None."""
        parts = name.split(".")
        stem = self.root.joinpath(*parts)
        candidates = (stem.with_suffix(".py"), stem / "__init__.py") if all(map(str.isidentifier, parts)) else ()
        return next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113  Names may be too long.


def misplaced(document: Any, folder: Path, allowed_paths: AllowedPaths) -> Iterator[Fault]:
    """Yields a fault for each path and module that a spec must not name. Its paths are relative to `folder`."""
    for path in PATHS:
        named = at(document, *path)
        names = [name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str) and name]
        yield from (Fault(path, text) for text in _misplaced(names, folder, allowed_paths))
    config = at(document, "deploy", "vela", "config")
    file = folder / config if isinstance(config, str) and config else None
    if file and allowed_paths.holds(file) and not os.path.isfile(file):  # noqa: PTH113  The name may be too long.
        yield Fault(
            ("deploy", "vela", "config"), f"the file {config} does not exist (the path is relative to the spec)."
        )
    for path, call in _calls(document):
        if isinstance(call, str) and ":" in call and allowed_paths.module(call.partition(":")[0]) is None:
            yield Fault(path, f"the project has no module {call.partition(':')[0]}.")


def _calls(document: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields (path, value) of each field that names a function of the project."""
    yield ("model", "call"), at(document, "model", "call")
    yield ("dataset", "call"), at(document, "dataset", "call")
    for name, output in objects(document, "outputs"):
        if output.get("task") == "call":
            yield ("outputs", name, "loss"), output.get("loss")
            for metric, fields in objects(output, "metrics"):
                yield ("outputs", name, "metrics", metric, "call"), fields.get("call")


def _misplaced(names: Iterable[str], folder: Path, allowed_paths: AllowedPaths) -> Iterator[str]:
    """Yields a sentence for each path that a spec must not name."""
    for name in names:
        place = os.path.join(folder, name)  # noqa: PTH118  A list may have thousands.
        if not allowed_paths.holds(place):
            hint = "Link it into the project, or list it in [tool.qatbuild] allow."
            yield f"lies outside the project: {name}. {hint}"
        elif _is_too_long(place):
            yield f"is too long: a name has at most {_NAME_BYTES} bytes, a path {_PATH_BYTES}."


def _is_too_long(path: str) -> bool:
    """Returns whether Linux refuses a path, whatever is there: every look at it would fail."""
    text = os.fsencode(os.path.abspath(path))  # noqa: PTH100  See its call.
    return len(text) > _PATH_BYTES or max(map(len, text.split(b"/"))) > _NAME_BYTES
