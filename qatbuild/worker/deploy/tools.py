"""External packages and programs of the routes; a missing one is an error with the command that installs it."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType

from qatbuild.exchange.errors import DeployError

_SHOWN_LINES = 12
_PACKAGES = {"ethosu": "ethos-u-vela"}
"""Module -> pip package, if the names differ."""


def module(name: str, route: str) -> ModuleType:
    """Imports the module `name`, a dependency of the extra with the route's name."""
    try:
        return importlib.import_module(name)
    except ImportError as fault:
        package = _PACKAGES.get(name.partition(".")[0], name.partition(".")[0])
        hint = f"pip install 'qatbuild[{route}]' (in a checkout of qatbuild: pip install -e '.[{route}]')"
        facts = [("missing", package), ("reason", fault)]
        raise DeployError(f"The route {route} needs a package that is not installed.", facts, hint) from fault


def program(*names: str, route: str, debian: str) -> Path:
    """Returns the path of the first installed program of several; `debian` names packages with one of them."""
    path = next((path for name in names if (path := shutil.which(name))), None)
    if path is None:
        facts, hint = [("missing", " or ".join(names))], f"apt-get install {debian}"
        raise DeployError(f"The route {route} needs a program that is not installed.", facts, hint)
    return Path(path)


def beside_python(name: str) -> Path | None:
    """Returns the path of a console script of this environment; None if it is not installed."""
    path = Path(sys.executable).with_name(name)
    return path if path.is_file() else None


def version(package: str) -> str:
    """Returns the installed version of a pip package."""
    return metadata.version(package)


def called(command: Sequence[object], what: str, hint: str = "", cwd: Path | None = None) -> str:
    """Runs a command and returns its output; DeployError with `what` and the end of the output if it fails."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    sys.stdout.write(done.stdout)  # Into the stage's log.
    if done.returncode:
        end = _end(done.stdout)
        facts = [("command", Path(str(command[0])).name), ("status", done.returncode), ("its end", end)]
        raise DeployError(what, facts, hint)
    return done.stdout


def _end(printed: str) -> str:
    """Returns the last lines of an output; of a Python traceback, only the exception."""
    before, traceback, after = printed.rpartition("Traceback (most recent call last):\n")
    if traceback:
        raised = [line for line in after.splitlines() if not line.startswith(" ")]
        printed = "\n".join(raised) if any(raised) else before
    return "\n".join([line for line in printed.splitlines() if line.strip()][-_SHOWN_LINES:])


def output(*command: str | Path) -> bytes:
    """Runs a command and returns its output as bytes; DeployError if it fails."""
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        facts = [("program", Path(command[0]).name), ("status", done.returncode)]
        raise DeployError("The compiled program fails.", facts)
    return done.stdout
