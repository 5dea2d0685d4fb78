"""Where a request runs."""

from __future__ import annotations

from typing import Protocol

from qatbuild.exchange.request import Request


class Executor(Protocol):
    """Runs a request to its end, wherever that is."""

    def run(self, request: Request) -> None:
        """Return with artifacts in `request.out` and their manifest in `request.work`, or raise the stage's error."""

    def stop(self) -> None:
        """End every stage that runs, as an interrupt would: it may save what it has. None is started after that."""
