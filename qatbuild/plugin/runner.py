"""Runs stages side by side (`doit -n N`): one thread for each running stage waits for its worker process.

doit's own parallel runners fork doit N times, or assign a task to a thread before the pools have room for it. Here only
the main thread chooses, records and reports tasks; it starts a stage when the pools have the amounts that it needs.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from doit.runner import Runner

from qatbuild.engine.pools import Pools
from qatbuild.plugin.tasks import is_faulty


class PoolRunner(Runner):  # type: ignore[misc]
    """Runs up to `places()` tasks at once. Tasks that are not stages take nothing from the pools."""

    def __init__(self, *arguments: Any, places: Callable[[], int], pools: Pools, stop: Callable[[], None]) -> None:
        """Makes a runner with doit's own arguments. `places` may change; `stop` interrupts the running stages."""
        super().__init__(*arguments)
        self.places = places
        self.pools = pools
        self._stop = stop
        self._ready: list[Any] = []
        self._rank: dict[str, int] = {}
        self._running: dict[str, tuple[threading.Thread, dict[str, float]]] = {}
        self._done: queue.SimpleQueue[tuple[Any, Any, BaseException | None]] = queue.SimpleQueue()

    def run_tasks(self, task_dispatcher: Any) -> None:
        """Called by doit: runs the selected tasks."""
        processed = None
        self._rank = {name: place for place, name in enumerate(task_dispatcher.selected_tasks)}
        try:
            while True:
                self._draw(task_dispatcher, processed)
                self._start()
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

    def _draw(self, dispatcher: Any, processed: Any) -> None:
        """Takes from doit every task that is ready, and skips those that need no run."""
        while not self._stop_running:
            try:
                node = dispatcher.generator.send(processed)
            except StopIteration:
                return
            processed = None
            if node == "hold on":
                return
            if self.select_task(node, dispatcher.tasks):
                self._ready.append(node)
            else:
                processed = node

    def _start(self) -> None:
        """Starts every ready stage that fits, in model order; one that waits for a pool does not block smaller ones."""
        waiting, self._ready = sorted(self._ready, key=self._place), []
        places = self.places() if waiting else 0
        for node in waiting:
            if self._stop_running:
                return
            stage = (node.task.meta or {}).get("stage")
            taken = None
            is_next = not is_faulty(node.task) or not (self._running or self._ready)  # Its failure ends the build.
            if is_next and len(self._running) < places:
                taken = self.pools.take(stage.name) if stage else {}
            if taken is None:
                self._ready.append(node)
                continue
            if node.task.teardown:
                self.teardown_list.append(node.task)
            self.reporter.execute_task(node.task)
            thread = threading.Thread(target=self._perform, args=(node,), daemon=True)
            self._running[node.task.name] = thread, taken  # From here on _wait waits for it.
            thread.start()

    def _place(self, node: Any) -> tuple[bool, int]:
        rank = self._rank.get(node.task.name, len(self._rank))  # doit creates some tasks during the run.
        return is_faulty(node.task), rank

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
