"""Sources: paths in a spec, each of a file, a folder, or a checkpoint (several files with one prefix).

The checkpoint `model.ckpt-100` is the files `model.ckpt-100.index`, `model.ckpt-100.data-00000-of-00001`, ...
"""

from __future__ import annotations

import glob
import hashlib
import os
from pathlib import Path

from qatbuild.engine.digests import Digests
from qatbuild.engine.walk import tree
from qatbuild.exchange.errors import StageError, system_facts, system_hint
from qatbuild.exchange.files import canonical_json


def source_sha256(path: Path, digests: Digests) -> str:
    """Returns the SHA-256 of a source's content; '' if it does not exist. StageError if it cannot be read."""
    try:
        return _sha256(path, digests)
    except OSError as fault:
        raise StageError("An input cannot be read.", system_facts(fault), system_hint(fault)) from fault


def _sha256(path: Path, digests: Digests) -> str:
    if path.exists():
        return digests.tree_sha256(path)
    parts = checkpoint_parts(path)
    rows = [[part.name, digest] for part, digest in zip(parts, digests.source_sha256(parts), strict=True)]
    return hashlib.sha256(canonical_json(rows).encode()).hexdigest() if rows else ""


def checkpoint_parts(path: Path) -> list[Path]:
    """Returns the files with this prefix; empty if no checkpoint has it."""
    parts = sorted(path.parent.glob(f"{glob.escape(path.name)}.*")) if path.parent.is_dir() else []
    return [part for part in parts if part.is_file()]


def source_paths(path: str) -> list[str]:
    """Returns every path whose state determines a source's content, the source itself first.

    For a folder, these are all folders and files below it. For a missing source, these are its folder and the parts of
    a checkpoint, because a new file there may become the source.
    """
    if os.path.isdir(path):  # noqa: PTH112
        folders, files = tree(path)
        return [*folders, *files]
    if os.path.exists(path):  # noqa: PTH110
        return [path]
    folder, name = os.path.split(path)
    try:
        names = sorted(os.listdir(folder or "."))  # noqa: PTH208
    except OSError:
        names = []
    return [path, folder or ".", *(os.path.join(folder, each) for each in names if each.startswith(f"{name}."))]  # noqa: PTH118


def holds(source: str, file: str) -> bool:
    """Returns whether a file is the source, lies in it, or is a part of the checkpoint. Both paths are POSIX."""
    return file == source or file.startswith((f"{source}/", f"{source}."))
