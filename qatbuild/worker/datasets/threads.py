"""Threads that decode pictures: Pillow computes outside of Python's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4
"""Items that wait for each thread, so that none has to wait."""


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result, None, None]:
    """Yields function(item) of each item in their order, computed on all cores; a few results are held at a time.

    What the function raises is raised in the item's place.
    """
    executor = pool(os.getpid())
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) > _AHEAD * cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for each in waiting:
            each.cancel()


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def pool(process: int) -> ThreadPoolExecutor:
    """Returns the threads of this process; those of its parent do not survive a fork."""
    return ThreadPoolExecutor(cores(), thread_name_prefix=f"pictures-{process}")
