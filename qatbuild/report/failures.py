"""What failed when it was last tried, kept until it is built: a page that lists its old result as passed would lie."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.plan import DEPLOY
from qatbuild.exchange.files import write_text

FILE = ".qatbuild/failures.json"  # plugin.reporter looks for it before it imports this


class Failure(NamedTuple):
    """A label's stage that has no result of now. `block` is the error as it was printed; '' if it was not its own.

    With `stale` it has not failed: what there is was found out about an earlier model.
    """

    label: str
    stage: str
    block: str
    stale: bool = False

    @property
    def key(self) -> str:
        """What names it: LABEL:STAGE."""
        return f"{self.label}:{self.stage}"

    @property
    def route(self) -> str:
        """The route to a target that the stage would have taken; '' for every other stage."""
        return self.stage.removeprefix(DEPLOY) if self.stage.startswith(DEPLOY) else ""

    @property
    def verdict(self) -> str:
        """What it comes to, in a line."""
        if self.stale:
            return "stale: of an earlier model"
        return f"FAILED: {self.block.splitlines()[0]}" if self.block else "not built, for what it needs failed"


def update(build: Path, failed: Iterable[Failure], built: Iterable[str]) -> dict[str, Failure]:
    """Remember what failed in a build and forget what was `built` (LABEL:STAGE); what is known now, by key."""
    known = load(build)
    now = {**known, **{each.key: each for each in failed}}
    for key in built:
        now.pop(key, None)
    if not now:
        _path(build).unlink(missing_ok=True)
    elif now != known:
        write_text(_path(build), json.dumps([each._asdict() for each in now.values()], indent=1) + "\n")
    return now


def load(build: Path) -> dict[str, Failure]:
    """What is known to have failed, by key. A file that cannot be read knows nothing."""
    try:
        rows = json.loads(_path(build).read_text(encoding="utf-8"))
        return {each.key: each for each in (Failure(**row) for row in rows)}
    except (OSError, ValueError, TypeError):
        return {}


def of(label: str, failures: Mapping[str, Failure]) -> dict[str, Failure]:
    """Those of one label, by stage."""
    return {each.stage: each for each in failures.values() if each.label == label}


def _path(build: Path) -> Path:
    return build / FILE
