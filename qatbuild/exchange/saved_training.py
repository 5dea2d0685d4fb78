"""The files of a saved training, which goes on from them after a kill: on this machine, or on another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qatbuild.exchange.files import read_json

STATE = "state.json"
"""The file that is written last, by rename. It names all others, with their digests."""

EVENTS = "events"
"""The folder of TensorBoard's files, which grow while the training runs."""


def folder_of(work: Path) -> Path:
    """Returns the folder of the saved training in a request's work folder."""
    return work / "resume"


def digests(folder: Path) -> Mapping[str, str]:
    """Returns the SHA-256 of every file of the state by name, without STATE itself; empty without a sound state."""
    try:
        return {str(name): str(digest) for name, digest in read_json(folder / STATE)["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
