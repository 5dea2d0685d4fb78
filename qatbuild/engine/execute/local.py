"""Runs requests in processes of this machine, forked from one server that has imported TensorFlow (worker/server.py).

A stage that crashes, is killed or fails is one StageError and affects no other stage.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from qatbuild.exchange.errors import StageError, from_json
from qatbuild.exchange.files import discard, make_folder, read_bytes, read_text, write_text
from qatbuild.exchange.request import Request

_LOG_LINES = 12
_FRAMES = 3
_CALLS = "Fatal Python error: "
"""Where the log of a worker killed by its own native code goes on with the Python calls, the innermost first."""

_NATIVE = (
    "native code of a library (TensorFlow, LiteRT, NumPy) ended the process; results up to this stage are kept."
    " Nothing in a spec should do that: please report it with the log."
)
_HINTS: dict[int, str] = {
    signal.SIGKILL: "SIGKILL mostly means that memory ran out: close programs, or run fewer stages at once (pools)",
    **dict.fromkeys((signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL), _NATIVE),
}

_NUMERIC = ("TF_", "XLA_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "QATBUILD_")
"""Prefixes of variables that change computed numbers. Requests do not contain them, so workers must not see them."""

_FIXED = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONHASHSEED": "0",
    # On import NumPy's BLAS would start threads, which a forking process must not have. No stage needs them.
    "OPENBLAS_NUM_THREADS": "1",
}


class LocalExecutor:
    """Runs requests from any number of threads at once. The server starts with the first request."""

    def __init__(self) -> None:
        """Makes an executor; its server is not started yet."""
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def run(self, request: Request) -> None:
        """Runs a request in a process of its own. Raises the stage's error, or StageError for a crash."""
        path, error = _path(request), request.work / "error.json"
        make_folder(request.work)
        discard(error)
        write_text(path, request.to_json())
        status = self._current().submit(str(path))
        if status == 0:
            return
        if abs(status) in {signal.SIGINT, 128 + signal.SIGINT}:
            raise KeyboardInterrupt
        with contextlib.suppress(OSError, ValueError):
            raise from_json(read_text(error))
        raise _crash(request, status)

    def interrupt(self, request: Request) -> bool:
        """Interrupts one request, which may save its progress; returns whether it was running.

        A second time ends it at once.
        """
        with self._lock:
            return self._server is not None and self._server.interrupt(str(_path(request)))

    def stop(self) -> None:
        """Closes the server, which stops its stages and waits for them."""
        with self._lock:
            if self._server is not None:
                self._server.close()

    def _current(self) -> _Server:
        with self._lock:
            if self._server is None or not self._server.is_mine_and_alive():
                self._server = _Server()
            return self._server


class _Server:
    """One server process and its pending requests."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[threading.Event, list[int]]] = {}
        # -P: a queue.py in the project must not shadow the standard library's.
        command = [sys.executable, "-P", "-m", "qatbuild.worker.server"]
        # A Ctrl-C before the server ignores it would print a traceback; it inherits the blocked signal.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=worker_environment()
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        threading.Thread(target=self._listen, daemon=True).start()
        atexit.register(self._close_at_exit)

    def is_mine_and_alive(self) -> bool:
        """Returns whether requests can be submitted: a forked child inherits the object, but not the answers."""
        return self._owner == os.getpid() and self._process.poll() is None

    def submit(self, line: str) -> int:
        """Submits a request's path, waits for it, and returns its exit status, negative for a signal."""
        done, result = threading.Event(), list[int]()
        with self._lock:
            self._waiting[line] = (done, result)
            if not self._write(line):  # No answer will come, and _listen may already have ended.
                done.set()
        done.wait()
        return result[0] if result else -signal.SIGKILL

    def interrupt(self, line: str) -> bool:
        """Interrupts the stage of a submitted path; returns whether it has been submitted, and has not ended."""
        with self._lock:
            return line in self._waiting and self._write(f"-{line}")

    def _write(self, line: str) -> bool:
        """Sends a line; returns whether the server lives."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            return False
        return True

    def _listen(self) -> None:
        assert self._process.stdout is not None
        try:
            for answer in self._process.stdout:
                status, _, line = answer.decode().rstrip("\n").partition(" ")
                with self._lock:
                    done, result = self._waiting.pop(line)
                result.append(int(status))
                done.set()
        finally:  # The server has died, and with it every stage that it ran.
            self._process.wait()
            with self._lock:
                for done, _ in self._waiting.values():
                    done.set()

    def close(self) -> None:
        """Makes the server stop its stages and exit."""
        if self._owner == os.getpid() and self._process.poll() is None:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):  # It has died meanwhile.
                self._process.stdin.close()
                self._process.terminate()  # If it imports TensorFlow, it would read the end of stdin only afterwards.
            self._process.wait()

    def _close_at_exit(self) -> None:
        """Closes the server; a Ctrl-C this late has nothing left to interrupt."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.close()


def _path(request: Request) -> Path:
    return request.work / "request.json"


def worker_environment() -> dict[str, str]:
    """Returns the worker's environment: the same qatbuild, and no variable that changes computed numbers."""
    home = str(Path(__file__).parents[3])
    python_path = os.environ.get("PYTHONPATH", "")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NUMERIC)}
    return {**kept, **_FIXED, "PYTHONPATH": os.pathsep.join(part for part in (home, python_path) if part)}


def _crash(request: Request, status: int) -> StageError:
    """Returns the error of a stage that left none: its signal or status, and the end of its log."""
    number = -status if status < 0 else status - 128
    if number in {item.value for item in signal.Signals}:
        how, hint = f"was killed by {signal.Signals(number).name}", _HINTS.get(number, "")
    else:
        how, hint = "failed unexpectedly: this is a bug in qatbuild or in the network's code", ""
    log = request.folder / "log.txt"
    try:
        text = read_bytes(log).decode(errors="replace")
    except OSError:
        text = ""
    printed, _, calls = text.rpartition(f"== {request.stage} ")[2].partition(_CALLS)
    lines = printed.splitlines()[1:][-_LOG_LINES:]
    frames = [line.strip() for line in calls.splitlines() if line.startswith("  File ")][:_FRAMES]
    facts: list[tuple[str, object]] = [("log", os.path.relpath(log))]
    if frames:
        facts.append(("called by", "\n".join(frames)))
    if lines:
        facts.append(("last lines", "\n".join(lines)))
    return StageError(f"The stage {request.stage} {how}.", facts, hint)
