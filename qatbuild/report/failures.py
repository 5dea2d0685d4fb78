"""The stages that failed in their last run. The pages do not show older results of these stages."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from qatbuild.exchange.files import discard, read_json, write_text
from qatbuild.schema.label import route_of


class Failure(NamedTuple):
    """A stage of a label without a current result.

    `block` is the printed error; '' if the stage was not run, because another that it needs failed. With `stale`, the
    stage did not fail, but its result must not be shown, for this reason.
    """

    label: str
    stage: str
    block: str
    stale: str = ""

    @property
    def key(self) -> str:
        """LABEL:STAGE."""
        return f"{self.label}:{self.stage}"

    @property
    def route(self) -> str:
        """The stage's deployment route; '' for another stage."""
        return route_of(self.stage)

    @property
    def verdict(self) -> str:
        """The failure in one line."""
        if self.stale:
            return f"stale: {self.stale}"
        return f"FAILED: {self.block.splitlines()[0]}" if self.block else "not built: a stage it depends on failed"


def update(file: Path, failed: Iterable[Failure], succeeded: Iterable[str]) -> dict[str, Failure]:
    """Adds failures to a file, removes what succeeded (LABEL:STAGE), and returns all remaining failures by key."""
    before = load(file)
    remaining = {**before, **{each.key: each for each in failed}}
    for key in succeeded:
        remaining.pop(key, None)
    if not remaining:
        with contextlib.suppress(OSError):
            discard(file)
    elif remaining != before:
        with contextlib.suppress(OSError):  # A full or read-only disk: the failures have been printed.
            write_text(file, json.dumps([each._asdict() for each in remaining.values()], indent=1) + "\n")
    return remaining


def load(file: Path) -> dict[str, Failure]:
    """Reads a file of failures, by key; an unreadable file counts as empty."""
    try:
        failures = [Failure(**row) for row in read_json(file)]
    except (OSError, ValueError, TypeError):
        return {}
    sound = all(isinstance(each.label, str) and isinstance(each.stage, str) for each in failures)
    return {each.key: each._replace(block=str(each.block)) for each in failures} if sound else {}


def of(label: str, failures: Mapping[str, Failure]) -> dict[str, Failure]:
    """Returns the failures of one label, by stage."""
    return {each.stage: each for each in failures.values() if each.label == label}
