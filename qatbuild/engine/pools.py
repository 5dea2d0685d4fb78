"""Pools: amounts of the machine's resources, which limit the stages that run at once.

    [tool.qatbuild.pools]            capacities
    gpu = 1
    memory_gib = 20
    cpu = 16

    [tool.qatbuild.takes.float]      amounts that a stage takes, where they differ from the assumed ones
    gpu = 0.5

Pools decide when a stage runs, not how: its number of threads is part of its key, so its bytes do not depend on
concurrent stages. Only configured pools limit anything, except `cpu`: concurrent stages compute with at most
THREADS_PER_CORE threads for each core of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

THREADS_PER_CORE = 2
"""Measured: the training of a small network leaves its threads idle most of the time, so two concurrent trainings, each
with one thread per core, finish sooner than one after the other. More than two only take memory."""

POOLS = ("gpu", "memory_gib", "cpu")

_LEARNS = {"float", "quantize"}
_COMPUTES = {"check": 1.0, "export": 1.0, "freeze": 1.0, "convert": 1.0}
"""Threads of stages that ignore `threads`, because their work cannot be split."""

_SLACK = 1e-9
"""Tolerance for sums of fractions, which are not exact."""

_MEMORY_GIB = {"dataset": 1.0, "float": 2.0, "quantize": 2.0, "evaluate": 1.0}


@dataclass
class Pools:
    """Capacities by pool, amounts by stage name and pool, and the free amounts by pool."""

    capacity: Mapping[str, float]
    takes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    threads: int = 1
    free: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        """Begins with everything free."""
        self.free = dict(self.capacity)

    @classmethod
    def of_machine(cls, capacity: Mapping[str, float], takes: Mapping[str, Mapping[str, float]], threads: int) -> Pools:
        """Returns a project's pools, with the default for `cpu`."""
        return cls({"cpu": THREADS_PER_CORE * (os.cpu_count() or 1), **capacity}, takes, threads)

    def needs(self, stage: str) -> dict[str, float]:
        """Returns the amounts that a stage takes, capped at the pools' capacities."""
        assumed = {
            "gpu": 1.0 if stage in _LEARNS else 0.0,
            "memory_gib": _MEMORY_GIB.get(stage, 0.5),
            "cpu": _COMPUTES.get(stage, float(self.threads)),
        }
        wanted = {**assumed, **self.takes.get(stage.partition(".")[0], {})}
        return {pool: min(wanted.get(pool, 0.0), size) for pool, size in self.capacity.items()}

    def take(self, stage: str) -> dict[str, float] | None:
        """Takes and returns the amounts that the stage needs; takes nothing and returns None if a pool is short."""
        needs = self.needs(stage)
        if any(self.free[pool] + _SLACK < amount for pool, amount in needs.items()):
            return None
        for pool, amount in needs.items():
            self.free[pool] -= amount
        return needs

    def give_back(self, taken: Mapping[str, float]) -> None:
        """Frees amounts that were taken."""
        for pool, amount in taken.items():
            self.free[pool] += amount
