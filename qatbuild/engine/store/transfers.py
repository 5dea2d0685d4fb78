"""Transfers side by side, with one progress bar on a terminal."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")

THREADS = 8
"""Transfers at once: one alone mostly waits for answers."""

_REFRESH_S = 0.2
_DELAY_S = 0.5
"""A bar for less would only flicker."""


class Transfer(Future[T], Generic[T]):
    """One transfer: its result later, its size, and the file that grows meanwhile, if one does."""

    def __init__(self, size_bytes: int, file: Path | None = None) -> None:
        """Describes a transfer that has not begun."""
        super().__init__()
        self.size_bytes = size_bytes
        self._file = file

    @property
    def arrived_bytes(self) -> int:
        """How much of it is done."""
        if self.done():
            return self.size_bytes
        try:
            return 0 if self._file is None else min(self._file.stat().st_size, self.size_bytes)
        except OSError:
            return 0


class Transfers:
    """Threads that transfer. They end with the process, also in the middle: every transfer can be cut."""

    def __init__(self, title: str) -> None:
        """Makes the transfers that the progress bar calls `title`; threads start with the first ones."""
        self._title = title
        self._waiting: queue.SimpleQueue[tuple[Transfer[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, job: Callable[[], T], size_bytes: int, file: Path | None = None) -> Transfer[T]:
        """Begins a transfer: calls `job` in another thread."""
        transfer = Transfer[T](size_bytes, file)
        self._waiting.put((transfer, job))
        if len(self._threads) < THREADS:
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()
        return transfer

    def _work(self) -> None:
        while True:
            transfer, job = self._waiting.get()
            if not transfer.set_running_or_notify_cancel():
                continue
            try:
                transfer.set_result(job())
            except BaseException as fault:  # noqa: BLE001  It is raised where the result is asked for.
                transfer.set_exception(fault)

    def finish(self, transfers: Sequence[Transfer[T]]) -> list[T]:
        """Waits for transfers and returns their results. Raises the first fault, after the others have ended.

        An interrupt cancels those that have not begun.
        """
        try:
            if sys.stderr.isatty() and transfers:
                self._show(transfers)
            wait(transfers)
        except BaseException:
            for transfer in transfers:
                transfer.cancel()
            raise
        return [transfer.result() for transfer in transfers]

    def _show(self, transfers: Collection[Transfer[T]]) -> None:
        from tqdm import tqdm  # noqa: PLC0415  Only on a terminal.

        from qatbuild.engine.live.screen import place_of_bar  # noqa: PLC0415

        total = sum(each.size_bytes for each in transfers)
        look: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024, "dynamic_ncols": True}
        with tqdm(total=total, desc=self._title, leave=False, delay=_DELAY_S, **look, **place_of_bar()) as bar:
            pending: Collection[Transfer[T]] = transfers
            while pending:
                pending = wait(pending, _REFRESH_S, FIRST_COMPLETED).not_done  # type: ignore[assignment]
                bar.update(sum(each.arrived_bytes for each in transfers) - bar.n)
