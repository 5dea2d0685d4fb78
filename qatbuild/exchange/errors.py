"""One tree of errors; every expected failure of a build is one of these.

    QatbuildError           message, facts, hint
    ├── SpecError           what the user wrote: all faults of a spec at once
    ├── PlanError           specs that are fine alone but clash together
    ├── ArtifactError       what lies on the disk is not what was published there
    └── StageError          a stage could not do its work
        ├── DatasetError    the data is not there, not intact, or not of the declared kind
        ├── RewriteError    the network cannot be made fully integer
        ├── ConversionError the converter's result is not what was asked for
        ├── DeployError     a target's tool is missing, or cannot take the model
        └── AcceptanceError a gate of the spec refused a model that was built

An expected error is shown as one block, without a traceback: the message says what is wrong, the facts
say where, the hint says what to write or do. Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from typing import Any

WIDTH = 110


class QatbuildError(Exception):
    """An expected failure: what (message), where (facts), and what to do about it (hint).

    `facts` are (label, value) pairs in the order in which they are to be read. Labels may repeat.
    """

    def __init__(self, message: str, facts: Iterable[tuple[str, object]] = (), hint: str = "") -> None:
        """Makes an error; see the class for what its parts are."""
        super().__init__(message)
        self.message = message
        self.facts = [(label, str(value)) for label, value in facts]
        self.hint = hint

    def block(self) -> str:
        """The error as the user reads it: message, aligned facts, hint."""
        width = max((len(label) for label, _ in self.facts), default=0)
        lines = textwrap.wrap(self.message, WIDTH) or [""]
        for label, value in self.facts:
            first, *rest = value.splitlines() or [""]
            lines.append(f"  {label:<{width}}  {first}")
            lines += [f"  {'':<{width}}  {line}" for line in rest]
        if self.hint:
            lines += textwrap.wrap(self.hint, WIDTH, initial_indent="  hint: ", subsequent_indent="        ")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.block()

    def to_json(self) -> str:
        """The error as it crosses the process boundary."""
        fields = {"kind": type(self).__name__, "message": self.message, "facts": self.facts, "hint": self.hint}
        return json.dumps(fields, indent=1)


class SpecError(QatbuildError):
    """What the user wrote cannot be read as a spec."""


class PlanError(QatbuildError):
    """Two specs, or two stages, claim the same thing."""


class ArtifactError(QatbuildError):
    """A published artifact is missing, truncated or edited."""


class StageError(QatbuildError):
    """A stage could not do its work."""


class DatasetError(StageError):
    """The data is not there, not intact, or not of the declared kind."""


class RewriteError(StageError):
    """The network cannot be made fully integer."""


class ConversionError(StageError):
    """The converter's result is not the fully integer model that was asked for."""


class DeployError(StageError):
    """A target's tool is missing, or it cannot take the model."""


class AcceptanceError(StageError):
    """A model was built, and a gate of its spec refused it."""


def from_json(text: str) -> QatbuildError:
    """The error that `to_json` wrote; an unknown kind comes back as StageError."""
    fields: dict[str, Any] = json.loads(text)
    kinds = {kind.__name__: kind for kind in _tree(QatbuildError)}
    kind = kinds.get(fields["kind"], StageError)
    return kind(fields["message"], [(label, value) for label, value in fields["facts"]], fields["hint"])


def _tree(root: type[QatbuildError]) -> list[type[QatbuildError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _tree(child))]
