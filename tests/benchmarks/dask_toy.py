"""Preloaded by the workers of the sweep: stages that sleep as long as their work, and write down when they did.

A line of the log, which idle.py reads, as JSON: what ("begin" or "end"), the time (seconds since the epoch, of one
machine), the worker's process, the stage, its key, and the SHA-256 of its inputs' manifests or of its own.
"""

from __future__ import annotations

import json
import os
import time

from qatbuild.engine.execute.dask import worker
from qatbuild.exchange.files import file_sha256
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from tests.benchmarks.idle import FACTOR, LOG, WORK_S
from tests.benchmarks.toy import LineExecutor


class SleepingExecutor(LineExecutor):
    """Runs a request by sleeping, and by writing a line into each artifact."""

    def interrupt(self, request: Request) -> bool:  # noqa: ARG002
        """Interrupts nothing: a stage ends soon."""
        return False

    def run(self, request: Request) -> None:
        """Works, and says when."""
        _note("begin", request, sorted({each.sha256 for each in request.inputs.values()}))
        time.sleep(WORK_S[request.stage] * float(os.environ[FACTOR]))
        super().run(request)
        _note("end", request, [file_sha256(Manifest.path_of(request.work, request.stage))])


def _note(what: str, request: Request, manifests: list[str]) -> None:
    line = json.dumps([what, time.time(), os.getpid(), request.stage, request.key, manifests]) + "\n"
    log = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(log, line.encode())  # At once, so that lines of several processes do not mix.
    os.close(log)


worker.new_executor = SleepingExecutor
