"""The threshold: one request in, artifacts or error.json out.

    python -m qatbuild.worker REQUEST.json    runs one stage in this process (to debug it)
    python -m qatbuild.worker --serve         reads paths of requests from stdin, one a line; forks a process for each

Serving pays TensorFlow's import once a build: the server imports it and each stage is a fork of the server. A fork is
safe because the server itself never runs an operation, so TensorFlow has started no thread. For each request that has
ended, the server prints the exit status and the path. When its stdin closes, or it dies, the stages die with it.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import resource
import selectors
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from qatbuild import console
from qatbuild.artifact import Manifest, write_text
from qatbuild.errors import QatbuildError, StageError
from qatbuild.request import Request

EXPECTED_FAILURE = 1
"""Exit status of a stage that left error.json."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_WRITING = {errno.EACCES, errno.EPERM, errno.EROFS}


def main(arguments: list[str]) -> int:
    """Serve, or run the one request that is named."""
    if arguments == ["--serve"]:
        serve()
        return 0
    if len(arguments) == 1 and not arguments[0].startswith("-"):
        return run(Path(arguments[0]))
    sys.stderr.write(__doc__ or "")
    return 2


def run(path: Path) -> int:
    """Run the request at `path`; 0, or EXPECTED_FAILURE with error.json beside it. A bug is raised."""
    request = Request.from_json(path.read_text(encoding="utf-8"))
    try:
        with _logged(request):
            _perform(request)
    except QatbuildError as error:
        write_text(request.work / "error.json", error.to_json())
        return EXPECTED_FAILURE
    return 0


def _perform(request: Request) -> None:
    started = time.time()
    shutil.rmtree(request.out, ignore_errors=True)
    request.out.mkdir(parents=True)
    # The user's own network is imported from the project.
    sys.path.insert(0, str(request.project))
    try:
        facts = importlib.import_module(f"qatbuild.stages.{request.stage}").run(request)
        manifest = Manifest.of(request.stage, request.out, facts)
        write_text(Manifest.path_of(request.work, request.stage), manifest.to_json())
        _write_run(request, time.time() - started)
    except OSError as fault:
        if fault.errno in _NO_SPACE:
            raise StageError(
                "No space is left on the device.", _where(request, fault), "make room and run doit again"
            ) from fault
        if fault.errno in _NO_WRITING:
            raise StageError(
                "A file cannot be written or read.", _where(request, fault), "mend its permissions"
            ) from fault
        raise


def _where(request: Request, fault: OSError) -> list[tuple[str, object]]:
    return [("stage", request.stage), ("folder", fault.filename or request.folder), ("reason", fault.strerror)]


def _write_run(request: Request, seconds: float) -> None:
    """Clocks and sizes of this run: of interest to people, of no influence on anything."""
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    finished = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    fields = {"finished": finished, "seconds": round(seconds, 3), "peak_memory_bytes": peak_bytes, "threads": threads()}
    write_text(request.folder / f"{request.stage}.run.json", json.dumps(fields, indent=1) + "\n")


def threads() -> int:
    """How many threads a stage may use: QATBUILD_THREADS, or as many as the process has cores."""
    return int(os.environ.get("QATBUILD_THREADS") or len(os.sched_getaffinity(0)))


@contextlib.contextmanager
def _logged(request: Request) -> Iterator[None]:
    """Send stdout and stderr, down to the descriptors, to log.txt; keep the terminal for progress."""
    os.environ["QATBUILD_THREADS"] = str(threads())
    request.folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = os.dup(2)
    former = {number: os.dup(number) for number in (1, 2)}
    os.environ[console.FILENO_VARIABLE] = str(terminal)
    with (request.folder / "log.txt").open("a", encoding="utf-8") as log:
        log.write(f"== {request.stage} {time.strftime('%Y-%m-%d %H:%M:%S')} {request.key}\n")
        log.flush()
        for number in former:
            os.dup2(log.fileno(), number)
        try:
            yield
        except QatbuildError as error:
            sys.stderr.write(error.block() + "\n")
            raise
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            for stream in (sys.stdout, sys.stderr, console.stream()):
                stream.flush()
            for number, copy in former.items():
                os.dup2(copy, number)


def serve() -> None:
    """Fork a process for each request named on stdin, until stdin closes."""
    # Ctrl-C reaches the whole process group: the stages and doit handle it, the server outlives them to say so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
            _reap(running)


def _start(line: str, running: dict[int, str], lifeline: tuple[int, int]) -> None:
    path = Path(line)
    toolchain = json.loads(path.read_text(encoding="utf-8"))["toolchain"]
    heavy = "tensorflow" in toolchain
    if heavy:
        _preload()
    process = os.fork()
    if process == 0:
        _be_a_stage(path, lifeline)
    running[process] = line
    if not heavy:  # Import while the light stage is at work: the next one will most likely need it.
        _preload()


def _preload() -> None:
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        # NumPy's BLAS would start threads on import, and a process that forks must have none; no stage needs them.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        with open(os.devnull, "w") as nowhere:
            kept = os.dup(2)
            os.dup2(nowhere.fileno(), 2)
            try:
                for module in ("tensorflow", "ai_edge_litert.interpreter"):
                    with contextlib.suppress(ImportError):  # The stage that needs it will say that it is missing.
                        importlib.import_module(module)
            finally:
                os.dup2(kept, 2)
                os.close(kept)


def _be_a_stage(path: Path, lifeline: tuple[int, int]) -> None:
    """Run the request in this fork and exit; die with the server."""
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(lifeline[1])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        # The server's answers go through its stdout: what a stage prints must not.
        os.dup2(2, 1)
        threading.Thread(target=_die_with, args=(lifeline[0],), daemon=True).start()
        status = run(path)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else EXPECTED_FAILURE
    finally:
        os._exit(status)


def _die_with(descriptor: int) -> None:
    os.read(descriptor, 1)
    os._exit(128 + signal.SIGTERM)


def _reap(running: dict[int, str]) -> None:
    while running:
        process, status = os.waitpid(-1, os.WNOHANG)
        if process == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        os.write(1, f"{code} {running.pop(process)}\n".encode())


def _stop(running: dict[int, str]) -> None:
    for process in running:
        os.kill(process, signal.SIGTERM)
    for process in running:
        os.waitpid(process, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
