"""Batches made in advance by a thread, so that the training does not wait for them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from qatbuild.worker.training.batches import Batch

_MOST_AHEAD = 8
_AHEAD_BYTES = 1 << 27
"""Batches ahead take at most so many bytes, but one is always made ahead."""


class Prefetch:
    """An iterator over the batches of steps `start` to `stop` - 1, made a few batches ahead, fewer of large ones.

    A context manager and an iterator, which raises the errors of `make`. `waited_s` is the time that the consumer has
    waited so far, in seconds.
    """

    def __init__(self, make: Callable[[int], Batch], start: int, stop: int) -> None:
        """Prepares batches by calling `make` in a thread with `start`, `start` + 1, ... `stop` - 1."""
        self.waited_s = 0.0
        self._make = make
        self._steps = range(start, stop)
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue()
        self._places = threading.Semaphore(1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._closed.set()
        while self._thread.is_alive():
            self._places.release()
            self._thread.join(0.05)

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        for step in self._steps:
            begun = time.perf_counter()
            batch = self._ready.get()
            self.waited_s += time.perf_counter() - begun
            self._places.release()
            if isinstance(batch, BaseException):
                raise batch
            yield step, batch

    def _fill(self) -> None:
        try:
            for step in self._steps:
                self._places.acquire()
                if self._closed.is_set():
                    return
                batch = self._make(step)
                if step == self._steps.start:
                    self._places.release(_more_places(batch))
                self._ready.put(batch)
        except BaseException as fault:  # noqa: BLE001 - the consumer raises it
            self._ready.put(fault)


def _more_places(batch: Batch) -> int:
    """Returns how many batches may be made ahead, beside the one that always may."""
    batch_bytes = sum(each.nbytes for arrays in batch for each in arrays.values())
    return max(0, min(_MOST_AHEAD, _AHEAD_BYTES // max(1, batch_bytes)) - 1)
