"""The errors of expected failures.

    QatbuildError           message, facts, hint
    ├── SpecError           a spec is invalid: all its faults at once
    ├── PlanError           valid specs contradict each other
    ├── ArtifactError       a file on the disk differs from the one that was published
    └── StageError          a stage failed
        ├── DatasetError    the data are missing, damaged, or of another kind than declared
        ├── RewriteError    the network cannot be made fully integer
        ├── ConversionError the converter failed, or its result does not pass the gates
        ├── DeployError     a target's tool is missing, or refuses the model
        └── AcceptanceError a built model does not pass a gate of its spec

An expected error is shown as one block, without a traceback: the message says what is wrong, the facts
say where, the hint says what to write or do. Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import json
import textwrap
from collections.abc import Iterable
from typing import Any

WIDTH = 110
LINES = 20
"""Largest number of lines of an error's block."""

_LONGEST_LINE = 400
_LONGEST_LABEL = 200
_WIDEST_LABEL = 60

Facts = Iterable[tuple[str, object]]
"""Rows (label, value) of an error, in the order in which they are read; labels may repeat."""


def printable(text: str, longest: int = 0, keep: str = "") -> str:
    """Returns a text as one line that any terminal, file and page can show.

    Line breaks, ESC and other control characters, changes of direction and lone surrogates become Python's escapes,
    except the characters in `keep`. A text longer than `longest` loses its middle; with 0 none is too long.
    """
    if longest and len(text) > longest:
        end = longest // 3
        text = f"{text[: longest - end]} ... {text[-end:]}"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else ascii(each)[1:-1] for each in text)


class QatbuildError(Exception):
    """An expected failure: a message, the facts (where), and a hint (what to do)."""

    def __init__(self, message: str, facts: Facts = (), hint: str = "") -> None:
        """Makes an error; values become text."""
        super().__init__(message)
        self.message = message
        self.facts = [(label, str(value)) for label, value in facts]
        self.hint = hint

    def block(self) -> str:
        """Returns the error as text, with at most LINES printable lines: message, aligned facts, hint."""
        first = textwrap.wrap(_paragraph(self.message), WIDTH) or [""]
        last: list[str] = []
        if self.hint:
            last = textwrap.wrap(_paragraph(self.hint), WIDTH, initial_indent="  hint: ", subsequent_indent="        ")
        rows = [
            (printable(label, _LONGEST_LABEL) if number == 0 else "", printable(line.expandtabs(), _LONGEST_LINE))
            for label, value in self.facts
            for number, line in enumerate(value.splitlines() or [""])
        ]
        room = LINES - len(first) - len(last)
        shown = rows if len(rows) <= room else rows[: room - 1]
        width = min(max((len(label) for label, _ in shown), default=0), _WIDEST_LABEL)
        more = [f"  and {len(rows) - len(shown)} more"] if len(shown) < len(rows) else []
        return "\n".join([*first, *(f"  {label:<{width}}  {line}" for label, line in shown), *more, *last])

    def in_one_line(self) -> str:
        """Returns the message, and the values of the facts in brackets."""
        values = "; ".join(value for _, value in self.facts)
        return f"{self.message} ({values})" if values else self.message

    def __str__(self) -> str:
        return self.block()

    def to_json(self) -> str:
        """Returns the error as JSON, to cross the process boundary."""
        fields = {"kind": type(self).__name__, "message": self.message, "facts": self.facts, "hint": self.hint}
        return json.dumps(fields, indent=1)


class SpecError(QatbuildError):
    """A spec is invalid."""


class PlanError(QatbuildError):
    """Two specs, or two stages, claim the same label or file."""


class ArtifactError(QatbuildError):
    """A published artifact is missing, truncated or edited."""


class StageError(QatbuildError):
    """A stage failed."""


class DatasetError(StageError):
    """The data are missing, damaged, or of another kind than declared."""


class RewriteError(StageError):
    """The network cannot be made fully integer."""


class ConversionError(StageError):
    """The converter failed, or its result is not the fully integer model of the spec."""


class DeployError(StageError):
    """A target's tool is missing, or refuses the model."""


class AcceptanceError(StageError):
    """A built model does not pass a gate of its spec."""


def system_facts(fault: OSError) -> list[tuple[str, object]]:
    """Returns the file that the system refused, and its reason."""
    file = fault.filename2 or fault.filename
    named = [] if file is None else [("file", file)]
    return [*named, ("reason", fault.strerror or fault)]


def system_hint(fault: OSError) -> str:
    """Returns what the user can do about a fault of the disk; '' where that depends."""
    for numbers, hint in _SYSTEM_HINTS.items():
        if fault.errno in numbers:
            return hint
    return ""


_SYSTEM_HINTS = {
    (errno.ENOSPC, errno.EDQUOT): "make room and run doit again",
    (errno.EACCES, errno.EPERM): "change its permissions, or those of its folder",
    (errno.EROFS,): "the disk is read-only: mount it for writing, or copy the project to another disk",
    (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTSUP, errno.ENXIO, errno.ELOOP): (
        "something else is in the place of a file or a folder: move or remove it, and run doit again"
    ),
    (errno.ENOLCK, errno.ENOSYS): (
        "its file system has no locks, which keep two builds apart: mount it with them, or name a folder on another"
        " disk as `build` in [tool.qatbuild] of pyproject.toml"
    ),
    (errno.EIO, errno.ESTALE): "the disk, or the connection to it, is faulty: check it, and run doit again",
    (errno.EMFILE, errno.ENFILE): "allow more open files (ulimit -n)",
}
"""errno -> what to do."""


def from_json(text: str) -> QatbuildError:
    """Reads the error that `to_json` wrote; an unknown kind becomes a StageError. ValueError for another text."""
    fields: dict[str, Any] = json.loads(text)
    kinds = {kind.__name__: kind for kind in _tree(QatbuildError)}
    try:
        kind = kinds.get(fields["kind"], StageError)
        return kind(fields["message"], [(label, value) for label, value in fields["facts"]], fields["hint"])
    except (KeyError, TypeError) as fault:
        raise ValueError(f"not an error: {fault}") from fault


def _paragraph(text: str) -> str:
    return printable(" ".join(text.split()), _LONGEST_LINE)


def _tree(root: type[QatbuildError]) -> list[type[QatbuildError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _tree(child))]
