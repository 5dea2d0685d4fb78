"""Relays what workers say of running stages: their logs to log.txt, their progress to the request's console."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qatbuild.engine.execute.dask.parcel import Message
from qatbuild.exchange.files import make_folder, make_way
from qatbuild.exchange.request import Request

_MOST_BYTES = 1 << 20
"""Size at which a console begins anew."""

_LAST_MESSAGE_S = 2.0


class Listener:
    """The messages about one request."""

    def __init__(self, log: Path, console: Path) -> None:
        """Appends to the file `log`, which other stages share, and to the file `console` if it exists."""
        self._log = log
        self._console = console
        self._run = ""
        self._end = 0
        self._lock = threading.Lock()
        self.saves = 0
        """How often a worker has sent a state of the training."""
        self._ended_run = ""
        self._has_ended = threading.Condition()
        self.idle = threading.Event()
        """Set unless a worker runs the stage."""
        self.idle.set()
        self.outcomes: dict[str, str] = {}
        """Cache -> outcome of the stage that is done, as JSON: of any run, because all have the same result."""

    def hear(self, message: Message) -> None:
        """Takes a message: those of one run come in order, unless the connection was lost."""
        if message.outcome:
            self.outcomes[message.cache] = message.outcome
            return
        self.saves += message.saved
        if message.ended:
            self.idle.set()
        else:
            self.idle.clear()
        with self._lock:
            self._begin(message.run)
            if message.start == self._end:
                self._append(message.log)
                self._end = message.end
        if message.console and self._console.is_file():
            with self._console.open("ab") as opened:
                if opened.tell() > _MOST_BYTES:
                    opened.truncate(0)
                opened.write(message.console)
        if message.ended:
            with self._has_ended:
                self._ended_run = message.run
                self._has_ended.notify_all()

    def wait_for_end(self, run: str) -> None:
        """Waits a moment for the last message of a run, whose outcome may overtake it."""
        with self._has_ended:
            self._has_ended.wait_for(lambda: self._ended_run == run, _LAST_MESSAGE_S)

    def end(self, run: str, log: bytes, root: str) -> None:
        """Appends what is missing of the whole log of a run."""
        with self._lock:
            self._begin(run)
            self._append(log[self._end :].replace(root.encode(), b""))
            self._end = len(log)

    def _begin(self, run: str) -> None:
        if run != self._run:
            self._run, self._end = run, 0

    def _append(self, text: bytes) -> None:
        if text:
            make_folder(self._log.parent)
            make_way(self._log)
            with self._log.open("ab") as opened:
                opened.write(text)


class Relay:
    """Passes each message to the listeners of its request: several, where models share a request and so its run."""

    def __init__(self) -> None:
        """Has no listeners yet."""
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def listening(self, request: Request) -> Iterator[Listener]:
        """Yields a new listener for a request, which hears messages until the end of the context."""
        listener = Listener(request.folder / "log.txt", request.console)
        with self._lock:
            self._listeners[request.key] = (*self._listeners.get(request.key, ()), listener)
        try:
            yield listener
        finally:
            with self._lock:
                others = tuple(each for each in self._listeners.pop(request.key) if each is not listener)
                if others:
                    self._listeners[request.key] = others

    def hear(self, event: tuple[float, Any]) -> None:
        """Called by Dask's client in its own thread with a time and the fields of a message."""
        message = Message(*event[1])
        for listener in self._listeners.get(message.key, ()):
            listener.hear(message)
