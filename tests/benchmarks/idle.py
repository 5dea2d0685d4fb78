"""What a sweep's log says: how long workers had nothing to do although work existed, and what was built twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

LOG, FACTOR = "QATBUILD_SWEEP_LOG", "QATBUILD_SWEEP_FACTOR"
"""Environment variables of the workers (dask_toy.py): the log's path, and by what all work is multiplied."""

WORK_S = {
    "dataset": 0.2, "check": 0.2, "float": 2.0, "quantize": 1.0, "export": 0.1, "freeze": 0.1, "convert": 0.1,
    "evaluate": 0.2,
}  # fmt: skip
"""Seconds of work of each stage of a sweep, before they are multiplied."""

_AFTER = {"float": "check"}
"""Stages that come after another one, of which a sweep has one only, without reading its result."""

Span = tuple[float, float]


class Run(NamedTuple):
    """One stage on a worker, from its begin to its end (seconds); without an end if the worker died meanwhile.

    `inputs` are digests of manifests, `output` is that of its own.
    """

    worker: int
    stage: str
    key: str
    begin_s: float
    end_s: float | None
    inputs: tuple[str, ...]
    output: str


def runs(lines: Iterable[str]) -> list[Run]:
    """Reads the log of dask_toy.py; a line that was cut off is left out."""
    begun: dict[tuple[int, str], Run] = {}
    result = []
    for line in lines:
        try:
            what, time_s, worker, stage, key, manifests = json.loads(line)
        except ValueError:
            continue
        if what == "begin":
            begun[worker, key] = Run(worker, stage, key, time_s, None, tuple(manifests), "")
        else:
            result.append(begun.pop((worker, key))._replace(end_s=time_s, output=manifests[0]))
    return sorted([*result, *begun.values()], key=lambda run: run.begin_s)


def built_twice(of_sweep: Sequence[Run], killed: Collection[int] = ()) -> list[str]:
    """Returns the keys that were built again although they had been built to their end.

    The last stage of a worker that was `killed` may have ended, and its result been lost on its way.
    """
    last = {run.worker: run for run in of_sweep}
    lost = [last[worker] for worker in killed if worker in last]
    counts = Counter(run.key for run in of_sweep if run.end_s is not None and run not in lost)
    return [key for key, count in counts.items() if count > 1]


def work_seconds(of_sweep: Iterable[Run]) -> float:
    """Returns the seconds of work that led to results."""
    return sum(run.end_s - run.begin_s for run in of_sweep if run.end_s is not None)


def idle_seconds(of_sweep: Sequence[Run], arrived: Mapping[int, float] = MappingProxyType({})) -> list[float]:
    """Returns for each pause of a worker how much of it some stage waited that could have begun.

    A stage could have begun when all that it comes after had been built, and the worker was free. The time until its
    result was back at the client, and the next stage here, is a part. A worker is free
    from when it `arrived` (seconds).
    """
    waiting = _merged(_waiting(of_sweep))
    return [_common(pause, waiting) for pause in _pauses(of_sweep, arrived)]


def _waiting(of_sweep: Sequence[Run]) -> Iterator[Span]:
    """Yields for each stage the time from the end of the last one that it comes after to its own first begin."""
    ended: dict[str, float] = {}
    for run in of_sweep:
        if run.end_s is not None:
            for name in (run.output, run.stage):
                ended[name] = min(run.end_s, ended.get(name, run.end_s))
    start_s = of_sweep[0].begin_s
    seen = set[str]()
    for run in of_sweep:
        if run.key not in seen:
            seen.add(run.key)
            before = [ended[each] for each in run.inputs]
            ready_s = max([*before, ended.get(_AFTER.get(run.stage, ""), start_s)])
            if ready_s < run.begin_s:
                yield ready_s, run.begin_s


def _pauses(of_sweep: Iterable[Run], arrived: Mapping[int, float]) -> Iterator[Span]:
    """Yields the times between two stages of one worker, and before its first one."""
    by_worker: dict[int, list[Run]] = {}
    for run in of_sweep:
        by_worker.setdefault(run.worker, []).append(run)
    for worker, mine in by_worker.items():
        if worker in arrived:
            yield arrived[worker], mine[0].begin_s
        yield from ((one.end_s, other.begin_s) for one, other in pairwise(mine) if one.end_s is not None)


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _common(pause: Span, spans: Iterable[Span]) -> float:
    """Returns how many seconds of a pause lie in spans, which do not overlap."""
    return sum(max(0.0, min(pause[1], end) - max(pause[0], start)) for start, end in spans)
