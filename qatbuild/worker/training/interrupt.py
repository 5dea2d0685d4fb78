"""Signals that stop a training between two steps, so that the saved state is that of a complete step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupt:
    """A context in which SIGTERM and SIGINT only set `requested`.

    It has no effect outside the main thread, where Python allows no signal handlers. The same signal a second time ends
    the process at once; the other signal changes nothing, because a build that is interrupted sends both.
    """

    def __init__(self) -> None:
        """Begins without a request; `requested` will be the number of the signal."""
        self.requested: int | None = None

    def __enter__(self) -> Self:
        self._former = {}
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._restore()

    def obey(self) -> None:
        """Ends the process after a request: KeyboardInterrupt, or SystemExit with 128 + the signal's number."""
        if self.requested == signal.SIGINT:
            raise KeyboardInterrupt
        if self.requested is not None:
            raise SystemExit(128 + self.requested)

    def _hear(self, number: int, _: FrameType | None) -> None:
        if number == self.requested:  # The second time: at once, without saving.
            self._restore()
            signal.raise_signal(number)
        self.requested = self.requested or number

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}
