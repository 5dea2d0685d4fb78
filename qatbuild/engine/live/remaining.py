"""How long the rest of a build takes, from the recorded durations of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qatbuild.exchange.files import read_json
from qatbuild.exchange.published import run_path

if TYPE_CHECKING:
    from qatbuild.engine.plan import Stage


class Planned(NamedTuple):
    """A stage of a build and its folder, which has the record of its last run if it ever ran."""

    stage: Stage
    folder: Path


class Remaining:
    """Estimates from run.json of every stage; a stage without one takes as long as others of its name."""

    def __init__(self, planned: Sequence[Planned]) -> None:
        """Reads nothing yet: a build with nothing to do needs no estimate. Stages come after their inputs."""
        self._planned = planned
        self._recorded: dict[str, float] | None = None
        self._by_name: dict[str, list[float]] = {}

    def expected_s(self, stage: Stage) -> float | None:
        """Returns how long a stage takes; None if no stage of its name has run, or `left_s` has yet to read."""
        recorded = (self._recorded or {}).get(stage.id)
        durations = self._by_name.get(stage.name)
        return recorded if recorded is not None or not durations else sum(durations) / len(durations)

    def add(self, stage: Stage, seconds: float) -> None:
        """Takes how long a stage has just taken, for others of its name."""
        self._by_name.setdefault(stage.name, []).append(seconds)

    def left_s(
        self, ended: AbstractSet[str], ran: AbstractSet[str], running: Mapping[str, float | None]
    ) -> float | None:
        """Returns the seconds until the last stage ends, with as many at once as run now; None if it is unknown.

        `ended` and `ran` are ids; `running` are the seconds left of those that run. A stage that has not begun will run
        if it never has, or if one of its inputs runs or has run: one that is up to date or restored takes no time.
        """
        stale = {*ran, *running}
        waiting = 0.0
        for stage, _ in self._planned:
            if stage.id in ended or stage.id in running:
                continue
            if stage.id not in self._records() or not stale.isdisjoint(stage.prerequisites):
                stale.add(stage.id)
                expected = self.expected_s(stage)
                if expected is None:
                    return None
                waiting += expected
        left_s = [seconds for seconds in running.values() if seconds is not None]
        if len(left_s) < len(running):
            return None
        return max(max(left_s, default=0.0), (sum(left_s) + waiting) / max(1, len(running)))

    def _records(self) -> dict[str, float]:
        if self._recorded is None:
            self._recorded = {}
            for stage, folder in self._planned:
                if (seconds := _seconds(run_path(folder, stage.name))) is not None:
                    self._recorded[stage.id] = seconds
                    self._by_name.setdefault(stage.name, []).append(seconds)
        return self._recorded


def _seconds(path: Path) -> float | None:
    try:
        return float(read_json(path)["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
