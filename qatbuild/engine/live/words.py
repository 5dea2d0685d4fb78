"""The texts of a running build: a line for each stage, one for the whole, plain or as wide as a terminal."""

from __future__ import annotations

from typing import NamedTuple

from qatbuild.exchange.activity import Activity

_NARROW = 60
"""Columns below which a line has no bar."""

_MINUTE_S, _HOUR_S = 60, 3600
_PERCENT = 100


class Running(NamedTuple):
    """A running stage for people: its name, since when, how long it takes by the records, and what it says."""

    name: str
    elapsed_s: float
    expected_s: float | None = None
    activity: Activity | None = None

    @property
    def left_s(self) -> float | None:
        """Seconds that it still takes: at the rate of what it counts, or by the records; None if unknown."""
        if self.activity is not None and self.activity.left_s is not None:
            return self.activity.left_s
        return None if self.expected_s is None else max(0.0, self.expected_s - self.elapsed_s)


class Totals(NamedTuple):
    """The whole build: stages that ended among all, those restored and failed among them, and the seconds left."""

    done: int
    stages: int
    restored: int
    failed: int
    left_s: float | None


def live_line(stage: Running, columns: int) -> str:
    """Returns a line with tqdm's bar, or without one in a narrow terminal, at most `columns` wide."""
    from tqdm import tqdm  # noqa: PLC0415  It takes a tenth of a second to import.

    activity = stage.activity
    if activity is None:
        elapsed = tqdm.format_interval(stage.elapsed_s)
        left = "" if not stage.left_s else f"<{tqdm.format_interval(stage.left_s)}"
        return f"{stage.name} [{elapsed}{left}]"[:columns]
    if columns < _NARROW:
        return _short(stage.name, activity, columns)
    is_bytes = activity.unit == "B"
    return tqdm.format_meter(
        activity.done,
        activity.total,  # type: ignore[arg-type]  # tqdm takes None, too.
        activity.elapsed_s,
        ncols=columns,
        prefix=_title(stage.name, activity),
        unit=f" {activity.unit}s" if not is_bytes else "B",
        unit_scale=is_bytes,
        unit_divisor=1024,
        rate=activity.per_second,
        postfix="" if activity.loss is None else f"loss={activity.loss:.3g}",
    )[:columns]


def _short(name: str, activity: Activity, columns: int) -> str:
    """Returns the name and the percentage, which is not cut off."""
    end = f" {_PERCENT * activity.done // activity.total}%" if activity.total else f" {activity.done:,}"
    return name[: max(0, columns - len(end))] + end[-columns:]


def plain_line(stage: Running) -> str:
    """Returns a line for a log: "net:float: 300 of 2,000 steps, 85.1 steps/s, 20 s left, loss 0.231"."""
    activity = stage.activity
    if activity is None:
        return f"{stage.name}: running for {duration(stage.elapsed_s)}"
    count = f"{activity.done:,}" if activity.total is None else f"{activity.done:,} of {activity.total:,}"
    unit = "bytes" if activity.unit == "B" else f"{activity.unit}s"
    parts = [f"{_title(stage.name, activity)}: {count} {unit}"]
    if activity.per_second:
        parts.append(f"{_rate(activity.per_second)} {unit}/s")
    if activity.left_s is not None:
        parts.append(f"{duration(activity.left_s)} left")
    if activity.loss is not None:
        parts.append(f"loss {activity.loss:.3g}")
    return ", ".join(parts)


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= _PERCENT else f"{per_second:.3g}"


def _title(name: str, activity: Activity) -> str:
    """Returns the stage's name, with the part's title unless that names the stage again."""
    stage = name.rpartition(":")[2]
    return name if stage in activity.title.split() or not activity.title else f"{name} {activity.title}"


def total_line(totals: Totals) -> str:
    """Returns "37 of 112 stages, 12 restored, about 14 min left"."""
    parts = [f"{totals.done:,} of {totals.stages:,} stages"]
    if totals.restored:
        parts.append(f"{totals.restored:,} restored")
    if totals.failed:
        parts.append(f"{totals.failed:,} failed")
    if totals.left_s is not None:
        parts.append(f"about {duration(totals.left_s)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Returns "40 s", "14 min" or "2 h 10 min"."""
    if seconds < _MINUTE_S:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / _MINUTE_S)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
