"""Runs stages side by side (`doit -n N`): one thread for each running stage waits for its worker process.

doit's own parallel runners fork doit N times, or assign a task to a thread before the pools have room for it. Here only
the main thread chooses, records and reports tasks; it starts a stage when the pools have the amounts that it needs.
"""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from doit.runner import Runner

from qatbuild.engine.pools import Pools
from qatbuild.plugin.tasks import is_faulty


class _Ready(NamedTuple):
    """A task whose inputs are there, in a heap: the first one to start is the least."""

    is_faulty: bool
    rank: int
    number: int
    """Unique, so that nodes are never compared."""
    node: Any


class PoolRunner(Runner):  # type: ignore[misc]
    """Runs up to `places()` tasks at once. Tasks that are not stages take nothing from the pools."""

    def __init__(self, *arguments: Any, places: Callable[[], int], pools: Pools, stop: Callable[[], None]) -> None:
        """Makes a runner with doit's own arguments. `places` may change; `stop` interrupts the running stages."""
        super().__init__(*arguments)
        self.places = places
        self.pools = pools
        self._stop = stop
        self._ready: list[_Ready] = []
        self._number = count()
        self._selected: set[str] = set()
        self._rank: dict[str, int] = {}
        self._running: dict[str, tuple[threading.Thread, dict[str, float]]] = {}
        self._done: queue.SimpleQueue[tuple[Any, Any, BaseException | None]] = queue.SimpleQueue()

    def run_tasks(self, task_dispatcher: Any) -> None:
        """Called by doit: runs the selected tasks."""
        processed = None
        self._rank = {name: place for place, name in enumerate(task_dispatcher.selected_tasks)}
        try:
            while True:
                self._fill(task_dispatcher, processed)
                if not self._running:
                    return
                processed, result, fault = self._done.get()
                _, taken = self._running.pop(processed.task.name)
                self.pools.give_back(taken)
                if fault is not None:
                    raise fault  # noqa: TRY301  Raised as in the main thread.
                self.process_task_result(processed, result)
        except BaseException:
            self._stop()
            self._wait()
            raise

    def _fill(self, dispatcher: Any, processed: Any) -> None:
        """Starts ready tasks in model order, until all places are taken; one that waits for a pool blocks no other.

        Only then is a task compared with the last build: for a large sweep that takes seconds, in which workers would
        have nothing to do. A faulty task comes last: its failure ends the build.
        """
        self._draw(dispatcher, processed)
        waiting: list[_Ready] = []
        while self._ready and not self._stop_running:
            ready = heapq.heappop(self._ready)
            if not self._must_run(ready.node, dispatcher):
                self._draw(dispatcher, ready.node)
                continue
            if self._room() == 0:
                waiting.append(ready)
                break
            is_next = not ready.is_faulty or not (self._running or waiting)
            taken = self._take(ready.node.task) if is_next else None
            if taken is None:
                waiting.append(ready)
            else:
                self._begin(ready.node, taken)
        for ready in waiting:
            heapq.heappush(self._ready, ready)

    def _draw(self, dispatcher: Any, processed: Any) -> None:
        """Takes from doit every task that is ready."""
        while not self._stop_running:
            try:
                node = dispatcher.generator.send(processed)
            except StopIteration:
                return
            processed = None
            if node == "hold on":
                return
            rank = self._rank.get(node.task.name, len(self._rank))  # doit creates some tasks during the run.
            heapq.heappush(self._ready, _Ready(is_faulty(node.task), rank, next(self._number), node))

    def _must_run(self, node: Any, dispatcher: Any) -> bool:
        """Returns whether a task is not up to date; doit is asked once."""
        if node.task.name not in self._selected and self.select_task(node, dispatcher.tasks):
            self._selected.add(node.task.name)
        return node.task.name in self._selected

    def _take(self, task: Any) -> dict[str, float] | None:
        """Takes what a task needs from the pools; None if they do not have it now."""
        stage = (task.meta or {}).get("stage")
        return self.pools.take(stage.name) if stage else {}

    def _begin(self, node: Any, taken: dict[str, float]) -> None:
        if node.task.teardown:
            self.teardown_list.append(node.task)
        self.reporter.execute_task(node.task)
        thread = threading.Thread(target=self._perform, args=(node,), daemon=True)
        self._running[node.task.name] = thread, taken  # From here on _wait waits for it.
        thread.start()

    def _room(self) -> int:
        """Returns how many further tasks may begin. This connects with a cluster: it is asked once a task must run."""
        return max(0, self.places() - len(self._running))

    def _perform(self, node: Any) -> None:
        try:
            self._done.put((node, node.task.execute(self.stream), None))
        except BaseException as fault:  # noqa: BLE001  The main thread raises it.
            self._done.put((node, None, fault))

    def _wait(self) -> None:
        # Not for their results: an interrupt may come between taking a result from the queue and noting it.
        for thread, _ in self._running.values():
            if thread.ident is not None:
                thread.join()
