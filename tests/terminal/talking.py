"""The toy toolchain with stages that say how far they are, and last until the test lets them end."""

from __future__ import annotations

import threading

from qatbuild.exchange.request import Request
from tests.builds.toolchain import ToyExecutor


class TalkingExecutor(ToyExecutor):
    """Runs a toy after it has said what the file says-STAGE holds, and as soon as there is no file hold-STAGE."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self, request: Request) -> None:
        says, hold = (request.project / f"{name}-{request.stage}" for name in ("says", "hold"))
        if says.exists():
            with request.console.open("a") as console:
                console.write(says.read_text())
        while hold.exists():
            if self._stopped.wait(0.02):
                raise KeyboardInterrupt
        super().run(request)
