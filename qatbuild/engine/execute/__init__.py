"""Executors: where a request runs."""

from __future__ import annotations

from typing import Protocol

from qatbuild.exchange.request import Request


class Executor(Protocol):
    """Runs requests, on this machine or another."""

    def run(self, request: Request) -> None:
        """Leaves artifacts in `request.out` and their manifest in `request.work`, or raises the stage's error."""

    def stop(self) -> None:
        """Interrupts every running stage, which may save its progress. Nothing is started afterwards."""
