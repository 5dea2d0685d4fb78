"""A connection to a Dask cluster: one that runs already, or one of this machine that ends with the build.

Its limits are settings of Dask's, which its files and environment can change:

    qatbuild.connect-timeout    15s      until a scheduler answers                (DASK_QATBUILD__CONNECT_TIMEOUT)
    qatbuild.workers-timeout    60s      until there is a worker for a stage      (DASK_QATBUILD__WORKERS_TIMEOUT)
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from qatbuild.engine.execute.dask.parcel import TOPIC
from qatbuild.exchange.errors import SpecError, StageError
from qatbuild.exchange.files import remove

if TYPE_CHECKING:
    from distributed import Client

_FRESH_S = 1.0
_ANSWER_S = 10
_ASSUMED = {"connect-timeout": "15s", "workers-timeout": "60s"}
_PLACES_PER_THREAD = 3
"""Stages that are sent for each thread of the cluster: one runs, and two wait at the scheduler. With one, short stages
would leave none while the client takes back their results."""


class Workers(NamedTuple):
    """The workers of a cluster: address -> threads, and address -> amounts of resources."""

    threads: Mapping[str, int]
    resources: Mapping[str, Mapping[str, float]]

    def can_take(self, resources: Mapping[str, float]) -> bool:
        """Returns whether one of them has these amounts, which other stages may be taking now."""
        return not self.threads or any(
            all(each.get(name, 0.0) >= amount for name, amount in resources.items()) for each in self.resources.values()
        )


class Cluster:
    """A cluster that threads share. `address` is its scheduler's, such as tcp://host:8786; '' for a local cluster."""

    def __init__(self, address: str, folder: Path, places: int, hear: Callable[[Any], object]) -> None:
        """Connects later. A local cluster runs `places` stages at once, with scratch files below `folder`.

        `hear` gets the messages of the workers.
        """
        self.address = address
        self._folder = folder
        self._places = places
        self._hear = hear
        self._lock = threading.RLock()
        self._client: Client | None = None
        self._local: Any = None
        self._fault: StageError | None = None
        self._workers = Workers({}, {})
        self._looked_s = 0.0
        self._alone_since_s: float | None = None

    def client(self) -> Client:
        """Returns the client, connected now. StageError if no scheduler answers; the same at every further call."""
        with self._lock:
            if self._fault is not None:
                raise self._fault
            if self._client is None or self._client.status not in {"running", "connecting"}:
                try:
                    self._client = self._connected()
                except StageError as error:
                    self._fault = error
                    raise
            return self._client

    def workers(self) -> Workers:
        """Returns the workers of a moment ago. StageError if there has been none for long."""
        with self._lock:
            if time.monotonic() - self._looked_s > _FRESH_S:
                self._workers = _workers(self.client())
                self._looked_s = time.monotonic()
                self._check()
            return self._workers

    def places(self) -> int:
        """Returns how many stages to send at once."""
        return max(1, _PLACES_PER_THREAD * sum(self.workers().threads.values()))

    def close(self) -> None:
        """Disconnects, and ends a local cluster with its workers."""
        with self._lock, contextlib.suppress(Exception):
            if self._client is not None:
                self._client.close(timeout=2)
            if self._local is not None:
                self._local.close(timeout=5)
                remove(self._folder)
            self._client = self._local = None

    def _connected(self) -> Client:
        distributed = imported()
        _silence()
        limit_s = limit("connect-timeout")
        try:
            if not self.address and self._local is None:
                self._local = self._local_cluster(distributed)
            where = self._local or self.address
            client: Client = distributed.Client(where, timeout=limit_s, set_as_default=False, name="qatbuild")
        except Exception as fault:
            facts = [("scheduler", self.address or "of this machine"), ("reason", fault), ("after", f"{limit_s:g} s")]
            raise StageError("The Dask scheduler cannot be reached.", facts, _SCHEDULER) from fault
        atexit.register(self.close)
        client.subscribe_topic(TOPIC, self._hear)
        return client

    def _local_cluster(self, distributed: ModuleType) -> Any:
        """Starts a scheduler and a worker as threads: no port is open, and each stage has a process anyway."""
        return distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=self._places,
            processes=False,
            memory_limit=0,
            dashboard_address=None,
            local_directory=str(self._folder),
            silence_logs=logging.CRITICAL,
        )

    def _check(self) -> None:
        """Notes since when the cluster has had no workers; StageError if that is too long."""
        if self._workers.threads:
            self._alone_since_s = None
            return
        now_s, limit_s = time.monotonic(), limit("workers-timeout")
        if self._alone_since_s is None:
            self._alone_since_s = now_s
            sys.stderr.write(f"waiting for a worker of the Dask cluster {self.address} (at most {limit_s:g} s)\n")
        elif now_s - self._alone_since_s > limit_s:
            facts = [("scheduler", self.address), ("waited", f"{limit_s:g} s")]
            self._fault = StageError(
                "The Dask cluster has no workers, or does not answer.",
                facts,
                f"start workers for it: dask worker {self.address}",
            )
            raise self._fault


def _workers(client: Client) -> Workers:
    """Returns the workers at this moment; none if the scheduler does not answer."""
    try:
        rows = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=_ANSWER_S)["workers"]
    except OSError:
        return Workers({}, {})
    threads = {address: int(row["nthreads"]) for address, row in rows.items()}
    return Workers(threads, {address: row["resources"] for address, row in rows.items()})


def _silence() -> None:
    """Silences Dask's own logs in this process: its faults are errors of ours, or mended here."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="distributed")


def imported() -> ModuleType:
    """Imports distributed. SpecError without it."""
    try:
        return importlib.import_module("distributed")
    except ImportError as fault:
        facts = [("executor", "dask"), ("missing", fault.name)]
        raise SpecError("The executor needs a package.", facts, "pip install 'qatbuild[dask]'") from fault


def limit(name: str) -> float:
    """Returns a limit of Dask's settings in seconds."""
    dask = importlib.import_module("dask")
    return float(dask.utils.parse_timedelta(dask.config.get(f"qatbuild.{name}", _ASSUMED[name])))


_SCHEDULER = "start one (dask scheduler), correct its address, or build here: --executor local"
