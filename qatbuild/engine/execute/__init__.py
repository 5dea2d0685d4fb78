"""Executors: where a request runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from qatbuild.exchange.request import Request


class Executor(Protocol):
    """Runs requests, on this machine or another."""

    def run(self, request: Request) -> None:
        """Leaves artifacts in `request.out` and their manifest in `request.work`, or raises the stage's error."""

    def stop(self) -> None:
        """Interrupts every running stage, which may save its progress. Nothing is started afterwards."""


@runtime_checkable
class Spread(Executor, Protocol):
    """An executor with workers on other machines."""

    def places(self) -> int:
        """Returns how many stages can be given to it at once: at least 1, and another number when workers join."""
