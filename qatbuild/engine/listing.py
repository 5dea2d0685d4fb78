"""Lists a project's labels without reading the specs that the last build found up to date and that have not changed.

A label and its description depend on the spec, on its bases, and on its code and files. Only these recorded
files are checked, and no artifacts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple

from qatbuild.engine.fast_path import environment
from qatbuild.engine.project import Project
from qatbuild.engine.up_to_date_record import GLOBAL, SOURCE, STAGE, Record, Recorded


class Listing(NamedTuple):
    """The specs to load, and the others as recorded, by name."""

    load: tuple[str, ...]
    recorded: Mapping[str, Recorded]


def listing(project: Project) -> Listing | None:
    """Returns the listing for `doit list`; None if everything must be loaded."""
    record = Record.load(project.state.record, environment(project))
    if record is None:
        return None
    differing = record.differing_in(_looked_at)
    if differing & GLOBAL:
        return None
    stale = record.resting(differing) if differing else set()
    names = [name for name in record.specs if name not in stale]
    return Listing((*record.others, *stale), dict(zip(names, record.recorded(names), strict=True)))


def _looked_at(group: str) -> int:
    """Returns the number of files of a group that affect labels; of a source, only whether it exists."""
    if group.startswith(STAGE):
        return 0
    return 1 if group.startswith(SOURCE) else sys.maxsize
