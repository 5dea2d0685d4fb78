"""What a route needs that is not always there: found, or one error that says how to install it."""

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
"""Packages of pip that are not called as their modules are."""


def module(name: str, route: str) -> ModuleType:
    """The module `name`, which comes with the extra of the route's name."""
    try:
        return importlib.import_module(name)
    except ImportError as fault:
        package = _PACKAGES.get(name.partition(".")[0], name.partition(".")[0])
        hint = f"pip install 'qatbuild[{route}]' (in a checkout of qatbuild: pip install -e '.[{route}]')"
        facts = [("missing", package), ("reason", fault)]
        raise DeployError(f"The route {route} needs a package that is not installed.", facts, hint) from fault


def program(*names: str, route: str, debian: str) -> Path:
    """The first of some programs that is installed; `debian` are the packages that hold one."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        facts = [("missing", " or ".join(names))]
        raise DeployError(f"The route {route} needs a program that is not there.", facts, f"apt-get install {debian}")
    return Path(found)


def beside_python(name: str) -> Path | None:
    """A console script of this environment; None if it is not installed."""
    path = Path(sys.executable).with_name(name)
    return path if path.is_file() else None


def version(package: str) -> str:
    """The installed version of a package of pip."""
    return metadata.version(package)


def called(command: Sequence[object], what: str, hint: str = "", cwd: Path | None = None) -> str:
    """What a command printed; DeployError with the end of it if it fails. `what` is who could not do it, in words."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    sys.stdout.write(done.stdout)  # into the stage's log
    if done.returncode:
        end = _end(done.stdout)
        facts = [("command", Path(str(command[0])).name), ("status", done.returncode), ("its end", end)]
        raise DeployError(what, facts, hint)
    return done.stdout


def _end(printed: str) -> str:
    """The last lines that were printed; of a Python traceback only what was raised."""
    before, found, after = printed.rpartition("Traceback (most recent call last):\n")
    if found:
        raised = [line for line in after.splitlines() if not line.startswith(" ")]
        printed = "\n".join(raised) if any(raised) else before
    return "\n".join([line for line in printed.splitlines() if line.strip()][-_SHOWN_LINES:])


def output(*command: str | Path) -> bytes:
    """The bytes that a command writes; DeployError if it fails."""
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        facts = [("program", Path(command[0]).name), ("status", done.returncode)]
        raise DeployError("A program that was just compiled fails.", facts)
    return done.stdout
