"""A request to stop, heard between two steps: so the state that is saved is that of a whole step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupt:
    """While open, SIGTERM and SIGINT only set `requested`; afterwards they do what they did before.

    Outside the main thread, where Python lets no one handle signals, it hears nothing. The same signal again does at
    once what it would have done; another one changes nothing, for whoever interrupts a build sends both.
    """

    def __init__(self) -> None:
        """Nothing is requested yet; `requested` is the number of the signal that was heard."""
        self.requested: int | None = None

    def __enter__(self) -> Self:
        self._former = {}
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._restore()

    def obey(self) -> None:
        """End the process as the signal would have: KeyboardInterrupt, or SystemExit with 128 + its number."""
        if self.requested == signal.SIGINT:
            raise KeyboardInterrupt
        if self.requested is not None:
            raise SystemExit(128 + self.requested)

    def _hear(self, number: int, _: FrameType | None) -> None:
        if number == self.requested:  # Asked twice: at once, without saving.
            self._restore()
            signal.raise_signal(number)
        self.requested = self.requested or number

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
