"""The closing table of a build: what became of its stages, and where the time went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qatbuild.engine.outcome import Fate, Outcome, shown
from qatbuild.report.table import aligned

_HEAD = ("stage", "built", "restored", "up to date", "failed", "not built", "s", "%", "longest")
_COLUMNS = (
    {Fate.BUILT}, {Fate.RESTORED}, {Fate.UP_TO_DATE}, {Fate.FAILED, Fate.REFUSED}, {Fate.NOT_BUILT},
)  # fmt: skip
_PERCENT = 100


def table(rows: Sequence[Outcome]) -> str:
    """Returns a line for each kind of stage that ran, in the order in which they first did.

    Seconds are summed over stages, which may have run side by side. Columns without a count are left out.
    """
    kinds: dict[str, list[Outcome]] = {}
    for row in rows:
        kinds.setdefault(row.stage.name, []).append(row)
    active = [kind for kind in kinds.values() if any(row.fate is not Fate.UP_TO_DATE for row in kind)]
    whole = sum(row.seconds for row in rows)
    lines = [_HEAD, *(_line(kind, whole) for kind in active)]
    kept = [index for index, column in enumerate(zip(*lines, strict=True)) if {*column[1:]} != {""}]
    left = {place for place, index in enumerate(kept) if index in {0, len(_HEAD) - 1}}
    return "\n".join(aligned([[line[index] for index in kept] for line in lines], left)) + "\n"


def _line(kind: Sequence[Outcome], whole: float) -> tuple[str, ...]:
    counts = (_count(row.fate in fates for row in kind) for fates in _COLUMNS)
    seconds = sum(row.seconds for row in kind)
    longest = max(kind, key=lambda row: row.seconds)
    named = f"{shown(longest.stage)} {longest.seconds:.1f} s" if len(kind) > 1 and longest.seconds else ""
    share = f"{_PERCENT * seconds / whole:.0f}" if whole else ""
    return (kind[0].stage.name, *counts, f"{seconds:.1f}", share, named)


def _count(each: Iterable[bool]) -> str:
    return str(sum(each) or "")
