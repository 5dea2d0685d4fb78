"""Ctrl-Z and `kill -STOP`: what a process does before it is stopped, and after it goes on."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def suspendable(leave: Callable[[], object], come_back: Callable[[], object]) -> Iterator[None]:
    """Calls `leave` before Ctrl-Z stops this process, and `come_back` when `fg` or `bg` lets it go on.

    `kill -STOP` gives no warning: then only `come_back` is called.

    Does nothing outside of the main thread, and where Ctrl-Z is ignored or has another handler.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
        yield
        return

    def stop(*_: object) -> None:
        leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)  # Sent to this thread, so that nothing more is done before the stop.
        signal.signal(signal.SIGTSTP, stop)

    signal.signal(signal.SIGTSTP, stop)
    handler_before = signal.signal(signal.SIGCONT, lambda *_: come_back())
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.signal(signal.SIGCONT, handler_before)
