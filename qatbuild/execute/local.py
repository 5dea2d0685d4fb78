"""Requests run in processes of this machine, forked from one server that has TensorFlow imported (see worker.py).

A stage that crashes, is killed or fails takes nothing else with it: it is one StageError.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from qatbuild.artifact import write_text
from qatbuild.errors import StageError, from_json
from qatbuild.request import Request

_LOG_LINES = 12


class LocalExecutor:
    """Runs requests, from any number of threads at once. The server starts with the first request."""

    def __init__(self) -> None:
        """An executor without a server yet."""
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._waiting: dict[str, tuple[threading.Event, list[int]]] = {}

    def run(self, request: Request) -> None:
        """Run the request in a process of its own; raises the stage's error, or StageError for a crash."""
        path = request.work / "request.json"
        request.work.mkdir(parents=True, exist_ok=True)
        (request.work / "error.json").unlink(missing_ok=True)
        write_text(path, request.to_json())
        status = self._submit(str(path))
        if status == 0:
            return
        if status == 128 + signal.SIGINT or status == -signal.SIGINT:
            raise KeyboardInterrupt
        error = request.work / "error.json"
        if error.is_file():
            raise from_json(error.read_text(encoding="utf-8"))
        raise _crash(request, status)

    def _submit(self, line: str) -> int:
        done, result = threading.Event(), list[int]()
        with self._lock:
            server = self._running_server()
            self._waiting[line] = (done, result)
        assert server.stdin is not None
        try:
            server.stdin.write(line.encode() + b"\n")
            server.stdin.flush()
        except BrokenPipeError:
            self._give_up(server)
        done.wait()
        return result[0]

    def _running_server(self) -> subprocess.Popen[bytes]:
        # A fork of doit (-n N) inherits this object but not the server's answers: it starts a server of its own.
        if self._server is None or self._server.poll() is not None or self._owner != os.getpid():
            command = [sys.executable, "-m", "qatbuild.worker", "--serve"]
            self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment())
            self._owner = os.getpid()
            self._waiting = {}
            threading.Thread(target=self._listen, args=(self._server,), daemon=True).start()
            atexit.register(_close, self._server)
        return self._server

    def _listen(self, server: subprocess.Popen[bytes]) -> None:
        assert server.stdout is not None
        for answer in server.stdout:
            status, _, line = answer.decode().rstrip("\n").partition(" ")
            done, result = self._waiting.pop(line)
            result.append(int(status))
            done.set()
        self._give_up(server)

    def _give_up(self, server: subprocess.Popen[bytes]) -> None:
        """The server is gone: so is every stage that it ran."""
        status = server.wait()
        with self._lock:
            for done, result in self._waiting.values():
                result.append(status or -signal.SIGKILL)
                done.set()
            self._waiting = {}


def _close(server: subprocess.Popen[bytes]) -> None:
    if server.stdin is not None and server.poll() is None:
        server.stdin.close()
        server.wait()


def _environment() -> dict[str, str]:
    """The worker finds the qatbuild that runs this build, wherever it is started."""
    home = str(Path(__file__).parent.parent.parent)
    former = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in (home, former) if part)}


def _crash(request: Request, status: int) -> StageError:
    """What can be said of a stage that left no error: the signal or status, and the end of its log."""
    log = request.folder / "log.txt"
    if status < 0:
        how = f"was killed by {signal.Signals(-status).name}"
        hint = "SIGKILL is most often the system's answer to too little memory" if status == -signal.SIGKILL else ""
    else:
        how, hint = "failed unexpectedly: this is a bug in qatbuild or in the network's code", ""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        lines = []
    shown = os.path.relpath(log)
    facts: list[tuple[str, object]] = [("log", shown), ("its end", "\n".join(lines))] if lines else [("log", shown)]
    return StageError(f"The stage {request.stage} {how}.", facts, hint)
