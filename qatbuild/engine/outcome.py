"""The outcome of each stage of a build."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # A build with nothing to do plans no stages.
    from qatbuild.engine.plan import Stage
    from qatbuild.engine.reason import Reason
    from qatbuild.exchange.errors import QatbuildError

_REASONS = 2
"""Largest number of reasons in a line."""


class Fate(StrEnum):
    """What a build did with a stage. REFUSED is a failure that left a model and its report."""

    BUILT = "built"
    RESTORED = "restored"
    UP_TO_DATE = "up to date"
    REFUSED = "refused"
    FAILED = "failed"
    NOT_BUILT = "not built"


class Outcome(NamedTuple):
    """One stage and its fate. `error` is the text of a failure, else ''; `seconds` is how long it took."""

    stage: Stage
    fate: Fate
    error: str = ""
    seconds: float = 0.0


class Outcomes(NamedTuple):
    """The outcomes of one build, in order. `unloaded` counts up-to-date stages that were not even loaded."""

    rows: list[Outcome]
    unloaded: int = 0

    @classmethod
    def empty(cls, unloaded: int = 0) -> Outcomes:
        """Returns the outcomes of a build that has not begun."""
        return cls([], unloaded)

    def stages(self, *fates: Fate) -> list[Stage]:
        """Returns the stages with one of these fates."""
        return [row.stage for row in self.rows if row.fate in fates]

    @property
    def ok(self) -> bool:
        """Whether no stage failed."""
        return not self.stages(Fate.FAILED, Fate.REFUSED, Fate.NOT_BUILT)

    @property
    def counts(self) -> str:
        """Describes the counts: "2 built, 6 up to date"; '' for a build without stages."""
        counts = {
            "built": len(self.stages(Fate.BUILT)),
            "restored": len(self.stages(Fate.RESTORED)),
            "up to date": len(self.stages(Fate.UP_TO_DATE)) + self.unloaded,
            "failed": len(self.stages(Fate.FAILED, Fate.REFUSED)),
        }
        return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


class Result(NamedTuple):
    """The result of a build: the outcome of each stage, in order, and the errors of specs with faults by spec name."""

    outcomes: Outcomes
    errors: Mapping[str, QatbuildError]

    @property
    def ok(self) -> bool:
        """Whether everything requested is now up to date."""
        return self.outcomes.ok and not self.errors


def shown(stage: Stage) -> str:
    """Describes a stage for people: LABEL:STAGE, and the number of other labels that share it."""
    more = f" (and {len(stage.labels) - 1} more)" if len(stage.labels) > 1 else ""
    return f"{stage.labels[0]}:{stage.name}{more}"


def is_judged(stage: Stage) -> bool:
    """Returns whether the stage's result is a verdict on a model, which the report lists."""
    return stage.name == "evaluate" or bool(stage.route)


def keys(stages: Iterable[Stage]) -> Iterator[str]:
    """Yields LABEL:STAGE for every label of these stages."""
    return (f"{label}:{stage.name}" for stage in stages for label in stage.labels)


def start_line(stage: Stage, reasons: Sequence[Reason], *, restorable: bool) -> str:
    """Returns the line that announces a stage: "." before one that runs, "<" before one that the store has."""
    mark, more = ("<", " (restored)") if restorable else (".", "")
    return f"{mark}  {shown(stage)}: {in_brief(reasons)}{more}\n"


def not_built_line(stage: Stage) -> str:
    """Returns the line about a stage that depends on a failure."""
    return f"!  {shown(stage)}: not built: a stage it depends on failed\n"


def failure_text(name: str, error: str) -> str:
    """Returns the block about a failure, with the error indented below the name of what failed."""
    return f"\n{name} FAILED\n" + "".join(f"   {line}\n" for line in error.splitlines())


def in_brief(reasons: Sequence[Reason]) -> str:
    """Returns the first reasons, and the number of further ones."""
    more = len(reasons) - _REASONS
    return "; ".join(reason.text for reason in reasons[:_REASONS]) + (f" and {more} more" if more > 0 else "")
