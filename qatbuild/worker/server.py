"""The server of worker processes: it imports TensorFlow once a build, and forks a process for each request.

    python -m qatbuild.worker.server        reads paths of requests from stdin, one a line

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
import importlib
import json
import os
import selectors
import signal
import sys
import threading
from pathlib import Path

from qatbuild.worker import run


def serve() -> None:
    """Fork a process for each request named on stdin, until stdin closes."""
    # Ctrl-C reaches the whole process group: the stages and doit handle it, the server stays to report their end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Answers have their own descriptor, so that printed text is never read as an answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    ended, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    lifeline = os.pipe()
    running: dict[int, str] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        pending = b""
        while True:
            for key, _ in selector.select():
                if key.fd == 0:
                    read = os.read(0, 1 << 16)
                    if not read:
                        _stop(running)
                        return
                    *lines, pending = (pending + read).split(b"\n")
                    for line in lines:
                        _start(line.decode(), running, lifeline)
                else:
                    os.read(ended, 1 << 16)
            _reap(running, answers)


def _start(line: str, running: dict[int, str], lifeline: tuple[int, int]) -> None:
    path = Path(line)
    toolchain = json.loads(path.read_text(encoding="utf-8"))["toolchain"]
    heavy = "tensorflow" in toolchain
    if heavy:
        _preload()
    process = os.fork()
    if process == 0:
        _run_stage(path, lifeline)
    running[process] = line
    if not heavy:  # Import while the light stage runs: the next stage probably needs it.
        _preload()


def _preload() -> None:
    if "tensorflow" not in sys.modules:
        with Path(os.devnull).open("w") as nowhere:
            kept = os.dup(2)
            os.dup2(nowhere.fileno(), 2)
            try:
                for module in ("tensorflow", "ai_edge_litert.interpreter"):
                    with contextlib.suppress(ImportError):  # The stage that needs the package reports it.
                        importlib.import_module(module)
            finally:
                os.dup2(kept, 2)
                os.close(kept)


def _run_stage(path: Path, lifeline: tuple[int, int]) -> None:
    """Run the request in this fork and exit; die with the server."""
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
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
    for process in running:
        os.kill(process, signal.SIGTERM)
    for process in running:
        os.waitpid(process, 0)


if __name__ == "__main__":
    serve()
