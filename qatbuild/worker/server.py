"""The server of worker processes: it imports TensorFlow once a build, and forks a process for each request.

    python -m qatbuild.worker.server        reads paths of requests from stdin, one a line; -PATH interrupts a stage

A fork is safe because the server never runs an operation, so that neither TensorFlow nor NumPy has started a thread in
it. For each request that has ended, the server prints the exit status and the path. When its stdin closes, or it dies,
the stages die with it.

Why not multiprocessing's forkserver (which can preload modules) or loky: their children outlive a server that is killed
by SIGKILL; they return pickled results where an exit status and files are wanted; and a child inherits the descriptors
of the server, while each stage here has its own log and keeps the terminal for progress.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import selectors
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from qatbuild.exchange.files import read_json
from qatbuild.worker import run

_YOUNG_OBJECTS = 20_000
"""New objects before Python looks for unreachable cycles among them: a graph of a thousand operations makes more."""

INTERRUPT = "-"
"""Begins a line that interrupts the request with the path in its rest; paths are absolute."""


def serve() -> None:
    """Forks a process for each request named on stdin, until stdin closes."""
    # Ctrl-C reaches the whole process group: the stages and doit handle it, the server stays to report their end.
    # It was blocked until here, where it is ignored.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # Answers have their own descriptor, so that printed text is never read as an answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    ended, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, str] = {}
    signal.signal(signal.SIGTERM, _interrupt_imports)
    with contextlib.suppress(_StoppedError, BrokenPipeError):  # BrokenPipeError: doit was killed.
        _answer(running, answers, ended)
    _stop(running)


class _StoppedError(BaseException):
    """doit ends while the server imports TensorFlow. No library may take it for an error of its own."""


def _interrupt_imports(*_: object) -> None:
    raise _StoppedError


def _answer(running: dict[int, str], answers: int, ended: int) -> None:
    """Starts the requests named on stdin, and answers those that have ended, until stdin closes."""
    lifeline = os.pipe()
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        pending = b""
        while True:
            for key, _ in selector.select():
                if key.fd == 0:
                    read = os.read(0, 1 << 16)
                    if not read:
                        return
                    *lines, pending = (pending + read).split(b"\n")
                    for line in map(bytes.decode, lines):
                        if line.startswith(INTERRUPT):
                            _interrupt(line.removeprefix(INTERRUPT), running)
                        else:
                            _start(line, running, lifeline)
                else:
                    os.read(ended, 1 << 16)
            _reap(running, answers)


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Spares the objects made inside every later search for garbage, in this process and in its forks.

    TensorFlow's are some 300,000, and live as long as the process. A stage that builds graphs spent a sixth of its time
    on going through them, and each fork got its own copy of their pages.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        gc.enable()


def _start(line: str, running: dict[int, str], lifeline: tuple[int, int]) -> None:
    path = Path(line)
    toolchain = read_json(path)["toolchain"]
    heavy = "tensorflow" in toolchain
    if heavy:
        _preload()
    # Python's own work at a fork would swallow a SIGTERM.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    process = os.fork()
    if process == 0:
        _run_stage(path, lifeline)
    running[process] = line
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if not heavy:  # Import while the light stage runs: the next stage probably needs it.
        _preload()


def _interrupt(line: str, running: Mapping[int, str]) -> None:
    """Interrupts one stage, which may save its progress; one that has ended meanwhile is left alone."""
    for process, each in running.items():
        if each == line:
            os.kill(process, signal.SIGTERM)


def _preload() -> None:
    if "tensorflow" not in sys.modules:
        with Path(os.devnull).open("w") as nowhere, without_collection(), without_scikit_learn():
            kept = os.dup(2)
            os.dup2(nowhere.fileno(), 2)
            try:
                for module in ("tensorflow", "ai_edge_litert.interpreter"):
                    with contextlib.suppress(ImportError):  # The stage that needs the package reports it.
                        importlib.import_module(module)
            finally:
                os.dup2(kept, 2)
                os.close(kept)


@contextlib.contextmanager
def without_scikit_learn() -> Iterator[None]:
    """Lets Keras, which TensorFlow imports, do without its wrappers of scikit-learn: a stage may still import it.

    No network is made of them, and scikit-learn with SciPy is a quarter of what TensorFlow's import takes. Python
    raises ImportError for a name that leads to None, for which Keras is prepared.
    """
    if "sklearn" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["sklearn"]


def _run_stage(path: Path, lifeline: tuple[int, int]) -> None:
    """Runs the request in this fork and exits; dies with the server."""
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(lifeline[1])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        faulthandler.enable(all_threads=False)  # Into the log: the Python calls that led into a crash of native code.
        threading.Thread(target=_die_with, args=(lifeline[0],), daemon=True).start()
        status = run.run(path)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else run.EXPECTED_FAILURE
    finally:
        os._exit(status)


def _die_with(descriptor: int) -> None:
    os.read(descriptor, 1)
    os._exit(128 + signal.SIGTERM)


def _reap(running: dict[int, str], answers: int) -> None:
    while running:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        os.write(answers, f"{code} {running.pop(process)}\n".encode())


def _stop(running: dict[int, str]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # A second one would cut short a training that saves its state.
    for process in running:
        os.kill(process, signal.SIGTERM)
    for process in running:
        os.waitpid(process, 0)


if __name__ == "__main__":
    serve()
