"""What stages take of a machine while they run, and how many may run at once.

    [tool.qatbuild.pools]            what there is
    gpu = 1
    memory_gib = 20
    cpu = 16

    [tool.qatbuild.takes.float]      what a stage takes, where that is not what is assumed
    gpu = 0.5

Pools decide when a stage runs, never how: what it computes with (`threads`) is in its key, so its bytes are the same
whatever runs beside it. A pool that is not named limits nothing, but for `cpu`: stages that run at once compute with no
more than CROWD threads for each core of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CROWD = 2
"""Threads for each core. The training of a small network waits for itself most of the time: two of them side by side,
each with as many threads as there are cores, are done sooner than one after the other. More only take memory."""

POOLS = ("gpu", "memory_gib", "cpu")

_LEARNS = {"float", "quantize"}
_COMPUTES = {"check": 1.0, "export": 1.0, "freeze": 1.0, "convert": 1.0}
"""Stages that compute with one thread, whatever `threads` says, for there is nothing to share out."""

_SLACK = 1e-9
"""Fractions are added and taken away: what is left is not exact."""

_MEMORY_GIB = {"dataset": 1.0, "float": 2.0, "quantize": 2.0, "evaluate": 1.0}


@dataclass
class Pools:
    """Capacities by pool, and what stages take by stage name; `free` is what is left."""

    capacity: Mapping[str, float]
    takes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    threads: int = 1
    free: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        """Everything is free."""
        self.free = dict(self.capacity)

    def needs(self, stage: str) -> dict[str, float]:
        """What a stage takes of the pools that there are. More than there is means: all of it."""
        assumed = {
            "gpu": 1.0 if stage in _LEARNS else 0.0,
            "memory_gib": _MEMORY_GIB.get(stage, 0.5),
            "cpu": _COMPUTES.get(stage, float(self.threads)),
        }
        wanted = {**assumed, **self.takes.get(stage.partition(".")[0], {})}
        return {pool: min(wanted.get(pool, 0.0), size) for pool, size in self.capacity.items()}

    def take(self, stage: str) -> dict[str, float] | None:
        """Take what the stage needs, all or, if something is short, nothing: None."""
        needs = self.needs(stage)
        if any(self.free[pool] + _SLACK < amount for pool, amount in needs.items()):
            return None
        for pool, amount in needs.items():
            self.free[pool] -= amount
        return needs

    def give_back(self, taken: Mapping[str, float]) -> None:
        """What was taken is free again."""
        for pool, amount in taken.items():
            self.free[pool] += amount
