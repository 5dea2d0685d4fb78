"""The file of a new spec: never half written, never over another one unless that is asked for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qatbuild.engine.new.layout import laid_out
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import SpecError
from qatbuild.exchange.files import make_folder, put
from qatbuild.schema.load import load, name_errors
from qatbuild.schema.rules import AllowedPaths

DODO = '''"""Makes every spec below specs/ a doit task."""

from qatbuild.plugin import project_tasks

DOIT_CONFIG, task_specs = project_tasks(__file__)
'''

_DRAFT = ".doit-new-"


def spec_file(project: Project, name: str) -> Path:
    """Returns the file of a spec that does not exist yet; SpecError for a name that none may have."""
    if errors := list(name_errors(name)):
        raise SpecError("The new spec's name cannot be used.", [("name", each) for each in errors])
    if not project.patterns:
        return project.specs / f"{name}.json"
    folders = {
        "/".join(part for part in folder.relative_to(project.root).parts if part != "specs"): folder
        for pattern in project.patterns
        for folder in sorted(project.root.glob(pattern))
        if folder.is_dir()
    }
    for prefix in sorted(folders, key=len, reverse=True):
        if not prefix or name.startswith(f"{prefix}/"):
            return folders[prefix] / f"{name.removeprefix(prefix).strip('/')}.json"
    facts = [("name", name), ("tool.qatbuild.specs", ", ".join(project.patterns))]
    hint = f"begin the name with {' or '.join(f'{each}/' for each in sorted(folders)) or 'a folder of specs'}"
    raise SpecError("The new spec would lie in no folder of specs.", facts, hint)


def named_path(project: Project, path: Path, spec: Path) -> str:
    """Returns a path as a spec names it, relative to itself. SpecError outside the project, or for an odd name."""
    if not AllowedPaths(project.root, project.allowed).holds(path):
        hint = "Move or link it into the project, or list its folder in [tool.qatbuild] allow of pyproject.toml."
        raise SpecError("The path lies outside the project.", [("path", path), ("project", project.root)], hint)
    name = os.path.relpath(path, spec.parent)
    try:
        name.encode()
    except UnicodeEncodeError as fault:
        raise SpecError(
            "A spec cannot name this path: its bytes are not UTF-8.", [("path", path)], "rename it, in UTF-8"
        ) from fault
    return name


def check_free(spec: Path, *, force: bool) -> None:
    """Raises a SpecError if there is a spec already, unless it is to be replaced."""
    if os.path.lexists(spec) and not force:
        raise SpecError("The spec exists already.", [("file", spec)], "choose another name, or replace it with --force")


def write(project: Project, name: str, spec: Path, document: Mapping[str, Any], *, force: bool) -> None:
    """Writes the spec, once it is known to load; in a folder without a dodo.py that, too, and first.

    SpecError leaves all as it was. A kill leaves at most a draft, which the next command removes.
    """
    above = next(folder for folder in spec.parents if folder.is_dir())
    make_folder(spec.parent)
    draft = _draft(spec)
    try:
        draft.write_text(f"{laid_out(document)}\n", encoding="utf-8")
        load(name, draft, AllowedPaths(project.root, project.allowed))
        check_free(spec, force=force)
        _write_dodo(project.root / "dodo.py")
        put(str(draft), str(spec))
    finally:
        draft.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # Not empty: it was written, or others are there.
            for folder in spec.parents:
                if folder == above:
                    break
                folder.rmdir()


def remove_drafts(*folders: Path) -> None:
    """Removes the drafts of commands that were killed."""
    for draft in (draft for folder in folders for draft in folder.glob(f"{_DRAFT}*")):
        process, _, _ = draft.name.removeprefix(_DRAFT).partition("-")
        if not _runs(process):
            draft.unlink(missing_ok=True)


def _runs(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # Another user's.
        pass
    return True


def _draft(file: Path) -> Path:
    """Returns the file beside another one that becomes it: hidden, and so no spec."""
    return file.with_name(f"{_DRAFT}{os.getpid()}-{file.name}")


def _write_dodo(file: Path) -> None:
    if not file.exists():
        draft = _draft(file)
        draft.write_text(DODO, encoding="utf-8")
        put(str(draft), str(file))
