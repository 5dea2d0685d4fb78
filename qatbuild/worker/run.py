"""Runs one stage: a request in, artifacts or error.json out.

    python -m qatbuild.worker.run REQUEST.json

runs one stage in this process. In a build a fork of the server (server.py) calls `run`.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from qatbuild.exchange.errors import Facts, QatbuildError, StageError, system_facts, system_hint
from qatbuild.exchange.facts import StageFacts
from qatbuild.exchange.files import make_folder, make_way, remove, write_text
from qatbuild.exchange.lock import held
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.processor import processor
from qatbuild.exchange.request import Request
from qatbuild.worker import console, opened_files

EXPECTED_FAILURE = 1
"""Exit status of a stage that wrote error.json."""

_RESERVE_BYTES = 1 << 16
"""Bytes reserved on the disk while a stage runs, so that its error can be written when the disk is full."""

_PACKAGE = Path(__file__).parents[1]

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


def main(arguments: list[str]) -> int:
    """Runs the request of the command line."""
    if len(arguments) == 1 and not arguments[0].startswith("-"):
        return run(Path(arguments[0]))
    sys.stderr.write(__doc__ or "")
    return 2


def run(path: Path) -> int:
    """Runs the request at `path`: return 0, or EXPECTED_FAILURE with error.json in its work folder. A bug is raised."""
    request = Request.read(path)
    try:
        try:
            with held(request.work / "lock"), _logged(request):
                make_way(request.work / "reserve")
                (request.work / "reserve").write_bytes(bytes(_RESERVE_BYTES))
                _perform(request)
        except OSError as fault:
            raise _expected(request, fault) from fault
    except QatbuildError as error:
        (request.work / "reserve").unlink(missing_ok=True)
        write_text(request.work / "error.json", error.to_json())
        return EXPECTED_FAILURE
    return 0


def _perform(request: Request) -> None:
    started = time.time()
    remove(request.out)
    make_folder(request.out)
    # The user's own network is imported from the project.
    sys.path.insert(0, str(request.project))
    module = request.stage.partition(".")[0]  # deploy.vela is the stage deploy on the route vela
    with opened_files.watching(source.path for source in request.sources.values()) as seen:
        try:
            facts: StageFacts = importlib.import_module(f"qatbuild.worker.stages.{module}").run(request)
        except SystemExit as end:
            raise _exited(request, end) from end
    manifest = Manifest.of(request.stage, request.out, facts.to_json())
    write_text(Manifest.path_of(request.work, request.stage), manifest.to_json())
    _write_run(request, time.time() - started, opened_files.inside(seen, request.project, request.downloads.parent))


def _exited(request: Request, end: SystemExit) -> BaseException:
    """Returns an error for an exit that the project's code has called; any other, which obeys a signal, unchanged."""
    frames = traceback.extract_tb(end.__traceback__)
    in_project = [frame for frame in frames if _is_of_project(Path(frame.filename), request.project)]
    if not in_project:
        return end
    last = in_project[-1]
    place = f"{Path(last.filename).relative_to(request.project)}:{last.lineno}: {last.line}"
    facts = [("stage", request.stage), ("at", place), ("exit status", end.code)]
    hint = "Return from the function, or raise an exception that says what is wrong: qatbuild calls it, and goes on."
    return StageError("The project's code ended the process of a stage.", facts, hint)


def _is_of_project(file: Path, project: Path) -> bool:
    is_installed = file.is_relative_to(_PACKAGE) or "site-packages" in file.parts
    return file.is_relative_to(project) and not is_installed


def _expected(request: Request, fault: OSError) -> Exception:
    """Returns an error with a hint for a fault that the user can correct; any other fault unchanged."""
    if not (hint := system_hint(fault)):
        return fault
    full = fault.errno in _NO_SPACE
    message = "No space is left on the device." if full else "A file cannot be written or read."
    where: Facts = [] if fault.filename else [("folder", request.folder)]
    return StageError(message, [("stage", request.stage), *where, *system_facts(fault)], hint)


def _write_run(request: Request, seconds: float, opened: list[str]) -> None:
    """Writes times, sizes and opened files of this run, for people; results do not depend on them."""
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    finished = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    fields = {
        "finished": finished,
        "seconds": round(seconds, 3),
        "peak_memory_bytes": peak_bytes,
        "threads": request.threads,
        "processor": processor(),
        "opened": opened,
        "key": request.key,
    }
    write_text(request.folder / f"{request.stage}.run.json", json.dumps(fields, indent=1) + "\n")


@contextlib.contextmanager
def _logged(request: Request) -> Iterator[None]:
    """Redirects stdout and stderr, with their descriptors, to log.txt; progress still goes to the terminal.

    It goes to the file `request.console` instead, as typed lines, if that exists: then the build shows it.
    """
    make_folder(request.folder)
    make_way(request.folder / "log.txt")
    sys.stdout.flush()
    sys.stderr.flush()
    typed = request.console.is_file()
    terminal = os.open(request.console, os.O_WRONLY | os.O_APPEND) if typed else os.dup(2)
    copies = {number: os.dup(number) for number in (1, 2)}
    console.use(terminal, typed=typed)
    with (request.folder / "log.txt").open("a", encoding="utf-8") as log:
        log.write(f"== {request.stage} {time.strftime('%Y-%m-%d %H:%M:%S')} {request.key}\n")
        log.flush()
        for number in copies:
            os.dup2(log.fileno(), number)
        try:
            yield
        except QatbuildError as error:
            sys.stderr.write(error.block() + "\n")
            raise
        except (SystemExit, KeyboardInterrupt):  # The stage was interrupted, which is not an error.
            raise
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            for stream in (sys.stdout, sys.stderr, console.stream()):
                stream.flush()
            for number, copy in copies.items():
                os.dup2(copy, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
