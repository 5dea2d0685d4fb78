"""What a running stage says of its progress: typed lines of the file `Request.console`, no part of a result."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Activity(NamedTuple):
    """How far a part of a stage is.

    `title` names the part, `unit` what it counts up to `total`, None if that is unknown. `per_second` are units, None
    until the first ones are counted. `loss` is that of a training.
    """

    title: str
    unit: str
    done: int
    total: int | None = None
    elapsed_s: float = 0.0
    per_second: float | None = None
    loss: float | None = None

    @property
    def left_s(self) -> float | None:
        """Seconds until the end at this rate; None if total or rate are unknown."""
        return max(0, self.total - self.done) / self.per_second if self.total and self.per_second else None

    def to_line(self) -> str:
        """Returns the line that `read` reads."""
        return f"{json.dumps(self._asdict())}\n"


class Warned(NamedTuple):
    """A warning for people."""

    warning: str

    def to_line(self) -> str:
        """Returns the line that `read` reads."""
        return f"{json.dumps(self._asdict())}\n"


def read(line: str) -> Activity | Warned | None:
    """Reads a line; None for one that is cut off, as on a full disk, or of another version."""
    try:
        fields: Any = json.loads(line)
        return Warned(str(fields["warning"])) if "warning" in fields else _activity(**fields)
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _activity(
    *,
    title: str,
    unit: str,
    done: float,
    total: float | None,
    elapsed_s: float,
    per_second: float | None,
    loss: float | None,
) -> Activity:
    """Makes an activity of fields in JSON; ValueError, TypeError or OverflowError for others."""
    return Activity(
        str(title),
        str(unit),
        int(done),
        None if total is None else int(total),
        float(elapsed_s),
        None if per_second is None else float(per_second),
        None if loss is None else float(loss),
    )
