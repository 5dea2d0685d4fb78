"""Simulates sweeps that are too large to measure: thousands of variants on hundreds of workers.

    python -m tests.benchmarks.pages     writes the table of qatbuild/docs/scale.md again

A discrete-event simulation. Every variant is a chain of stages; a stage takes time of a worker, and of the client
(request, publishing), of Dask's scheduler, of the cache's server and of the client's network, each of which does one
thing after the other. How much of each is measured: by dask_sweep.py and by restore.py, whose results are read here.
What cannot be measured on one machine is assumed, and named: `Assumed`.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from tests.benchmarks.idle import WORK_S
from tests.benchmarks.table import RESULTS

CHAIN = ("float", "quantize", "export", "freeze", "convert", "evaluate")
"""The stages of a variant, one after the other. `dataset` and `check` are shared, and built before."""

CLIENT, SCHEDULER, SERVER, NETWORK = "client", "scheduler", "cache server", "client's network"
ADVICE = {
    CLIENT: "several clients, each with a part of the labels",
    SCHEDULER: "several schedulers, each with a client and workers of its own",
    SERVER: "a server of several processes, or an object store",
    NETWORK: "a client beside the cache, or artifacts that stay in the cache",
}
"""The resources that all workers share, and what helps when one is busy all the time."""

_PLACES_A_WORKER = 3
"""How many stages the client sends at once, for each worker."""


class Assumed(NamedTuple):
    """What a single machine cannot tell: the network of the client, and what stages leave.

    `trained_bytes` are those of a training's checkpoints, `model_bytes` those of each other stage; `spread` is the
    standard deviation of a stage's work, as a part of it.
    """

    network_bytes_s: float = 125e6
    trained_bytes: int = 20_000_000
    model_bytes: int = 2_000_000
    spread: float = 0.25


class Costs(NamedTuple):
    """Seconds of one stage at each resource; `worker_s` is a worker's pause between two stages while work exists."""

    client_s: float
    scheduler_s: float
    server_s: float
    worker_s: float
    byte_s: float
    """Seconds of the client for each byte that it receives, and compares with its digest."""

    @classmethod
    def measured(cls, sweep: Mapping[str, Any], restored: Mapping[str, Any]) -> Costs:
        """Reads the undisturbed sweep of dask_sweep.json, and restore.json."""
        row = _undisturbed(sweep)
        cpu = {name: seconds / row["stages"] for name, seconds in row["cpu_seconds"].items()}
        digest_s = next(each["seconds"] for each in restored["rows"] if each["what"] == "SHA-256")
        pause_s = row["idle_seconds"]["median"]
        return cls(cpu["client"], cpu["scheduler"], cpu["server"], pause_s, digest_s / restored["bytes"])


class Sweep(NamedTuple):
    """A sweep to simulate: `work_s` is the mean work of each stage of CHAIN, in seconds."""

    variants: int
    workers: int
    work_s: Mapping[str, float]

    @classmethod
    def of_trainings(cls, variants: int, workers: int, training_s: float) -> Sweep:
        """A sweep whose `float` works for `training_s`; the other stages for a part of it."""
        parts = {"float": 1.0, "quantize": 0.3, "evaluate": 0.02}
        return cls(variants, workers, {stage: training_s * parts.get(stage, 0.005) for stage in CHAIN})

    @classmethod
    def measured(cls, sweep: Mapping[str, Any]) -> Sweep:
        """The undisturbed sweep of dask_sweep.py."""
        row = _undisturbed(sweep)
        work_s = {stage: sweep["factor"] * WORK_S[stage] for stage in CHAIN}
        return cls(row["variants"], row["workers"], work_s)


def _undisturbed(sweep: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(row for row in sweep["rows"] if not row["kill_every_s"])


@dataclass
class Resource:
    """One that does one thing after the other."""

    free_s: float = 0.0
    busy_s: float = 0.0

    def serve(self, now_s: float, seconds: float) -> float:
        """Returns when something is done that arrives now."""
        self.free_s = max(now_s, self.free_s) + seconds
        self.busy_s += seconds
        return self.free_s


class Outcome(NamedTuple):
    """A simulated sweep: its seconds, the busy share of every resource and of the workers, and what was built."""

    seconds: float
    busy: dict[str, float]
    workers_busy: float
    begun: int
    finished: int
    most_at_once: int

    @property
    def busiest(self) -> str:
        """The shared resource that is busy for the largest share of the time."""
        return max(self.busy, key=lambda name: self.busy[name])


@dataclass
class Simulation:
    """One run. Events are handled in the order of their times, so everything that queues is served in order."""

    sweep: Sweep
    costs: Costs
    assumed: Assumed = field(default_factory=Assumed)
    seed: int = 1
    _events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begins with every variant's first stage."""
        self._random = random.Random(self.seed)
        self._numbers = count()
        self._resources = {name: Resource() for name in ADVICE}
        self._ready = deque((variant, 0) for variant in range(self.sweep.variants))
        self._queue: deque[tuple[int, int]] = deque()
        self._free = self.sweep.workers
        self._flying = self._begun = self._finished = self._most = 0
        self._worked_s = 0.0

    def run(self) -> Outcome:
        """Simulates the sweep to its end."""
        now_s = 0.0
        self._send(now_s)
        while self._events:
            now_s, _, handle, arguments = heapq.heappop(self._events)
            handle(now_s, *arguments)
        busy = {name: resource.busy_s / now_s for name, resource in self._resources.items()}
        workers_busy = self._worked_s / (self.sweep.workers * now_s)
        return Outcome(now_s, busy, workers_busy, self._begun, self._finished, self._most)

    def _at(self, time_s: float, handle: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (time_s, next(self._numbers), handle, arguments))

    def _send(self, now_s: float) -> None:
        """Sends ready stages, as many as the client has at once."""
        while self._ready and self._flying < _PLACES_A_WORKER * self.sweep.workers:
            stage = self._ready.popleft()
            self._flying += 1
            sent_s = self._resources[CLIENT].serve(now_s, self.costs.client_s / 2)
            self._at(sent_s, self._scheduled, stage)

    def _scheduled(self, now_s: float, stage: tuple[int, int]) -> None:
        self._at(self._resources[SCHEDULER].serve(now_s, self.costs.scheduler_s / 2), self._queued, stage)

    def _queued(self, now_s: float, stage: tuple[int, int]) -> None:
        self._queue.append(stage)
        self._assign(now_s)

    def _assign(self, now_s: float) -> None:
        while self._free and self._queue:
            self._free -= 1
            self._begun += 1
            self._most = max(self._most, self.sweep.workers - self._free)
            here_s = self._resources[SERVER].serve(now_s, self.costs.server_s / 2)
            stage = self._queue.popleft()
            mean_s = self.sweep.work_s[CHAIN[stage[1]]]
            work_s = max(0.0, self._random.gauss(mean_s, self.assumed.spread * mean_s))
            self._worked_s += work_s
            self._at(here_s + self.costs.worker_s + work_s, self._worked, stage)

    def _worked(self, now_s: float, stage: tuple[int, int]) -> None:
        self._at(self._resources[SERVER].serve(now_s, self.costs.server_s / 2), self._left, stage)

    def _left(self, now_s: float, stage: tuple[int, int]) -> None:
        """The result is in the cache: the worker is free, and the client is called."""
        self._free += 1
        self._assign(now_s)
        self._at(self._resources[SCHEDULER].serve(now_s, self.costs.scheduler_s / 2), self._called, stage)

    def _called(self, now_s: float, stage: tuple[int, int]) -> None:
        is_training = CHAIN[stage[1]] in {"float", "quantize"}
        size_bytes = self.assumed.trained_bytes if is_training else self.assumed.model_bytes
        here_s = self._resources[NETWORK].serve(now_s, size_bytes / self.assumed.network_bytes_s)
        self._at(here_s, self._received, stage, size_bytes)

    def _received(self, now_s: float, stage: tuple[int, int], size_bytes: int) -> None:
        published_s = self._resources[CLIENT].serve(now_s, self.costs.client_s / 2 + size_bytes * self.costs.byte_s)
        self._at(published_s, self._published, stage)

    def _published(self, now_s: float, stage: tuple[int, int]) -> None:
        self._finished += 1
        self._flying -= 1
        variant, position = stage
        if position + 1 < len(CHAIN):
            self._ready.appendleft((variant, position + 1))  # One model to its end before the next.
        self._send(now_s)


def most_workers(sweep: Sweep, costs: Costs, assumed: Assumed) -> dict[str, float]:
    """Returns how many workers each shared resource can keep busy: their time for a stage over its own."""
    mean_work_s = sum(sweep.work_s.values()) / len(CHAIN) + costs.worker_s
    size_bytes = (2 * assumed.trained_bytes + (len(CHAIN) - 2) * assumed.model_bytes) / len(CHAIN)
    seconds = {
        CLIENT: costs.client_s + size_bytes * costs.byte_s,
        SCHEDULER: costs.scheduler_s,
        SERVER: costs.server_s,
        NETWORK: size_bytes / assumed.network_bytes_s,
    }
    return {name: mean_work_s / each for name, each in seconds.items()}


VARIANTS, WORKERS = 10_000, 500
TRAININGS_S = (30, 300, 3000)


def markdown(measured: Mapping[str, Any]) -> str:
    """The table of scale.md, from dask_sweep.json: what 500 workers are busy with, by the length of a training."""
    costs = Costs.measured(measured, json.loads((RESULTS / "restore.json").read_text(encoding="utf-8")))
    assumed = Assumed()
    heads = ["a training", "all", *(f"{name} busy" for name in ("workers", *ADVICE)), "saturates first", "at workers"]
    lines = [f"| {' | '.join(heads)} |", "|--:|--:|--:|" + "--:|" * len(ADVICE) + "---|--:|"]
    saturated = dict[str, None]()
    for training_s in TRAININGS_S:
        sweep = Sweep.of_trainings(VARIANTS, WORKERS, training_s)
        outcome = Simulation(sweep, costs, assumed).run()
        limits = most_workers(sweep, costs, assumed)
        first = min(limits, key=lambda name: limits[name])
        saturated[first] = None
        shares = [f"{100 * share:.0f} %" for share in (outcome.workers_busy, *outcome.busy.values())]
        cells = [f"{training_s:,} s", f"{outcome.seconds / 3600:.1f} h", *shares, first, f"{limits[first]:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    changes = [f"When the {name} is busy all the time, what helps is {ADVICE[name]}." for name in saturated]
    return "\n".join([*lines, "", _about(costs, assumed), "", _check(measured, costs), "", *changes]) + "\n"


def _check(measured: Mapping[str, Any], costs: Costs) -> str:
    """Simulates what was measured: both times are said."""
    row = _undisturbed(measured)
    exact = Assumed(spread=0, trained_bytes=0, model_bytes=0)
    seconds = Simulation(Sweep.measured(measured), costs, exact).run().seconds
    return (
        f"Of the measured sweep, {row['variants']} variants on {row['workers']} workers, the simulation says"
        f" {seconds:.0f} s; it took {row['wall_seconds']:.0f} s, with the start of doit."
    )


def _about(costs: Costs, assumed: Assumed) -> str:
    return (
        f"{VARIANTS:,} variants of {len(CHAIN)} stages on {WORKERS} workers, one client. Measured, a stage:"
        f" {1000 * costs.client_s:.1f} ms of the client, {1000 * costs.scheduler_s:.1f} ms of the scheduler,"
        f" {1000 * costs.server_s:.1f} ms of the cache server, a pause of the worker of {1000 * costs.worker_s:.0f} ms,"
        f" and {1e9 * costs.byte_s:.2f} ns a byte for digests at the client. Assumed:"
        f" {assumed.network_bytes_s / 1e6:,.0f} MB/s at the client, {assumed.trained_bytes / 1e6:.0f} MB of a training,"
        f" {assumed.model_bytes / 1e6:.0f} MB of every other stage."
    )
