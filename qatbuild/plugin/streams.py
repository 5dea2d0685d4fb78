"""The standard streams of a command, and Ctrl-C: output that cannot be written and an interruption are one line each.

Python without stdout has None in its place, and the next file that is opened gets its descriptor. So a closed stream
is replaced: stdin and stderr by /dev/null, stdout by a stream that fails, because a command that cannot say anything
must not succeed.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from doit.exceptions import InvalidCommand

from qatbuild.exchange.errors import ArtifactError, QatbuildError, system_facts, system_hint

if TYPE_CHECKING:
    from qatbuild.plugin.invocation import Invocation

_STDOUT = 1


def prepare() -> None:
    """Makes the standard streams take any text, and lets an interruption at any time of this process be one line.

    Closed ones are replaced; on stdout, characters without an encoding are escaped, as Python does on stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # The lowest free descriptor is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY if number == _STDOUT else os.O_RDWR), True)  # noqa: FBT003
    if sys.stdout is None:
        sys.stdout = open(_STDOUT, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    usual_hook = sys.excepthook

    def hook(kind: type[BaseException], fault: BaseException, at: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write("\ninterrupted\n")
        else:
            usual_hook(kind, fault, at)

    sys.excepthook = hook


def ignore_interrupts() -> None:
    """Ignores further Ctrl-C: what a command does at its end is short, and must not be left half done."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def guarded(command: Invocation) -> Iterator[None]:
    """Ends a command that is interrupted, or whose output or files cannot be written, without a traceback.

    An interrupted command exits with 130; a build whose output pipe was closed with 141, another command with 0.
    InvalidCommand for any other fault of stdout, for an expected error, and for a fault of a file that the user can
    correct. In a build without specs, doit itself handles all of it.
    """
    try:
        yield
        sys.stdout.flush()  # Only here a closed pipe or a full disk is noticed.
    except KeyboardInterrupt:
        if _is_foreign(command):
            raise
        ignore_interrupts()
        with contextlib.suppress(OSError):
            sys.stderr.write("\ninterrupted; run doit again to go on\n" if command.builds else "\ninterrupted\n")
        raise SystemExit(128 + signal.SIGINT) from None
    except QatbuildError as error:
        raise InvalidCommand(error.block()) from error
    except OSError as fault:
        if _is_foreign(command):
            raise
        if fault.filename is None or _has_lost_stdout():  # Faults of files name them.
            _silence_stdout()
            if isinstance(fault, BrokenPipeError):
                raise SystemExit(128 + signal.SIGPIPE if command.builds else 0) from None
            raise InvalidCommand(ArtifactError("The output cannot be written.", system_facts(fault)).block()) from fault
        if system_hint(fault):
            raise InvalidCommand(of_file(fault).block()) from fault
        raise


def of_file(fault: OSError) -> ArtifactError:
    """Returns the error for a file that the system refused."""
    return ArtifactError("A file cannot be written or read.", system_facts(fault), system_hint(fault))


def _is_foreign(command: Invocation) -> bool:
    return command.builds and not command.projects


def _has_lost_stdout() -> bool:
    """Returns whether text for stdout is left that cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _silence_stdout() -> None:
    """Redirects stdout to /dev/null, so that Python's exit cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
