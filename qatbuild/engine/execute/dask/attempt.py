"""One attempt to have a task performed by a Dask cluster: sent, waited for, taken back if it is not wanted any more."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from qatbuild.engine.execute.dask.cluster import Cluster, Workers
from qatbuild.engine.execute.dask.packing import Package
from qatbuild.engine.execute.dask.parcel import Outcome
from qatbuild.engine.execute.dask.relay import Listener
from qatbuild.engine.pools import Pools
from qatbuild.exchange.errors import StageError

if TYPE_CHECKING:
    from distributed import Client, Future

_LOOK_EVERY_S = 1.0
_RESULT_S = 60
"""How long a small text may take from its worker: one that takes longer is lost."""

INTERRUPTION_S = 60.0
"""How long a training may take for the step that it is in, and for saving and sending its state."""

_NOT_RUN = "install this qatbuild on the scheduler and on the workers, and start them again"


class Waiting:
    """A thread that waits for the end of its task, or of the build."""

    def __init__(self) -> None:
        """Begins to wait."""
        self.stopped = False
        self.woken = threading.Event()

    def stop(self) -> None:
        """Ends the waiting: the build is interrupted."""
        self.stopped = True
        self.woken.set()


class Task(NamedTuple):
    """A packed request, what workers say of it, and the thread that waits for it."""

    package: Package
    listener: Listener
    waiting: Waiting

    @property
    def stage(self) -> str:
        """The name of the stage."""
        return self.package.parcel.request.stage

    @property
    def said(self) -> str:
        """The outcome that a worker has said, as JSON; '' without one."""
        return self.listener.outcomes.get(self.package.parcel.cache, "")

    def key(self, number: int) -> str:
        """Returns the name of an attempt at the scheduler: clients that want the same from one cache share one run.

        A further attempt has another name, because the scheduler may still have the outcome of the one before.
        """
        parcel = self.package.parcel
        digest = hashlib.sha256(f"{parcel.request.key} {parcel.cache} {number}".encode()).hexdigest()
        return f"{self.stage}-{digest[:32]}"


class Attempts:
    """Makes attempts in a cluster. `takes` are the amounts of the project's pools, which are resources of Dask."""

    def __init__(self, cluster: Cluster, takes: Mapping[str, Mapping[str, float]], threads: int) -> None:
        """Makes attempts for stages that compute with `threads` threads."""
        self._cluster = cluster
        self._takes = takes
        self._threads = threads

    def attempt(self, task: Task, refusing: Collection[str], number: int) -> Outcome | None:
        """Returns the outcome at a worker that is not `refusing`; None if the task or the cluster was lost.

        `number` is that of the attempt, from 0.

        KeyboardInterrupt if the build stops. StageError if the cluster cannot be reached, has had no workers for long,
        or cannot run any task.
        """
        client, workers = self._cluster.client(), self._cluster.workers()
        resources = self._resources(workers, task.stage)
        others = [each for each in workers.threads if each not in refusing] if refusing else None
        queued = importlib.import_module(f"{__package__}.queued").queued  # It needs the extra.
        future: Future = queued(client, task.key(number), task.package.parcel.to_json(), resources, others)
        try:
            self._wait(task, future, client, resources)
        except KeyboardInterrupt:
            _take_back(future)
            if client.status == "running":  # A training saves its state.
                task.listener.idle.wait(INTERRUPTION_S)
            raise
        finally:
            _take_back(future)
        return _outcome(future, task.said)

    def _wait(self, task: Task, future: Future, client: Client, resources: Mapping[str, float]) -> None:
        """Waits until the future is done, its worker has said so, or the cluster can no longer perform it."""
        waiting = task.waiting
        waiting.woken.clear()
        future.add_done_callback(lambda _: waiting.woken.set())
        while not (waiting.stopped or future.done() or task.said):
            if not waiting.woken.wait(_LOOK_EVERY_S):
                workers = self._cluster.workers()
                if client.status == "closed" or not workers.can_take(resources):
                    return
        if waiting.stopped:
            raise KeyboardInterrupt

    def _resources(self, workers: Workers, stage: str) -> dict[str, float]:
        """Returns the resources that a stage takes, of those that workers declare: never more than one of them has."""
        names = {name.lower(): name for each in workers.resources.values() for name in each}
        most = {pool: max(each.get(name, 0.0) for each in workers.resources.values()) for pool, name in names.items()}
        needs = Pools(most, self._takes, self._threads).needs(stage)
        return {names[pool]: amount for pool, amount in needs.items() if amount}


def _take_back(future: Future) -> None:
    """Has the cluster interrupt a task that is not done; a lost connection has the same effect."""
    if future.status == "pending":
        with contextlib.suppress(Exception):
            future.cancel()


def _outcome(future: Future, said: str) -> Outcome | None:
    """Returns the outcome that a worker has said, or that of the future; None for one that was lost.

    StageError if it cannot run at all.
    """
    from distributed import KilledWorker  # noqa: PLC0415  It needs the extra.

    try:
        if said:
            return Outcome.from_json(said)
        if future.status == "finished":
            return Outcome.from_json(future.result(timeout=_RESULT_S))
        fault = future.exception(timeout=_RESULT_S) if future.status == "error" else None
    except Exception:  # noqa: BLE001  Whatever it is of Dask's, the result is lost.
        return None
    finally:
        future.release()
    if fault is None or isinstance(fault, KilledWorker):
        return None
    raise StageError("The Dask cluster cannot run a stage.", [("reason", repr(fault))], _NOT_RUN) from fault
