"""Watches a stage that runs on a worker: relays its log and progress, sends its saved training, interrupts it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from qatbuild.engine.execute.dask.parcel import Message
from qatbuild.engine.execute.dask.progress import Progress
from qatbuild.engine.tail import Tail
from qatbuild.exchange.request import Request

_EVERY_S = 0.2

_logger = logging.getLogger(__name__)


class Watch:
    """A context around one run of a request, with a thread that looks at its files several times a second."""

    def __init__(
        self,
        request: Request,
        say: Callable[[Message], object],
        progress: Progress,
        is_wanted: Callable[[], bool],
        interrupt: Callable[[], bool],
    ) -> None:
        """Watches a request. `interrupt` is called when it is not wanted any more, until it returns True."""
        self._say = say
        self._progress = progress
        self._is_wanted = is_wanted
        self._interrupt = interrupt
        self._message = Message(request.key, os.urandom(8).hex())
        self._log, self._console = Tail(request.folder / "log.txt"), Tail(request.console)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.interrupted = False

    @property
    def run(self) -> str:
        """The number of this run, which its messages have."""
        return self._message.run

    def __enter__(self) -> Self:
        self._say(self._message)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self._look()
        self._say(self._message._replace(ended=True))

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._look()
            if not self.interrupted and not self._is_wanted():
                self.interrupted = self._interrupt()

    def _look(self) -> None:
        start, log = self._log.offset, self._log.read()
        message = self._message._replace(start=start, end=self._log.offset, log=log, console=self._console.read())
        try:
            message = message._replace(saved=self._progress.save())
        except OSError:
            _logger.warning("The progress of a training cannot be sent", exc_info=True)
        if message.log or message.console or message.saved:
            self._say(message)
