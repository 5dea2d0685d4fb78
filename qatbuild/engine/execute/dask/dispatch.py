"""Sends a task to the workers of a cluster until one of them has performed it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from itertools import count
from typing import Protocol

from qatbuild.engine.code_digest import Code
from qatbuild.engine.execute.dask.attempt import Task
from qatbuild.engine.execute.dask.likeness import unlike_code
from qatbuild.engine.execute.dask.packing import Packer
from qatbuild.engine.execute.dask.parcel import End, Outcome
from qatbuild.exchange.errors import QatbuildError, StageError, from_json

_MOST_LOSSES = 4
"""How often in a row a stage may be lost without progress. Dask gives it up when four workers have died with it."""

_MOST_SENDINGS = 3

_DYING = "look into the workers' logs: mostly their memory ran out; or build here: --executor local"


class Attempting(Protocol):
    """Something that makes one attempt; see attempt.Attempts."""

    def attempt(self, task: Task, refusing: Collection[str], number: int) -> Outcome | None:
        """Returns the outcome at a worker that is not `refusing`; None if the task was lost."""


class Dispatcher:
    """Dispatches tasks. `workers` returns the addresses of the workers that are there; `code` is this machine's."""

    def __init__(
        self, attempts: Attempting, workers: Callable[[], Collection[str]], packer: Packer, code: Code
    ) -> None:
        """Dispatches tasks that `packer` has packed."""
        self._attempts = attempts
        self._workers = workers
        self._packer = packer
        self._code = code

    def performed(self, task: Task) -> Outcome:
        """Returns the outcome: DONE, FAILED, or LACKS if what was sent again and again does not arrive.

        A lost stage is sent again, and so is what a worker lacks; a worker that refuses is left out. Raises the first
        refusal if all of them refuse; StageError for a stage that is lost without progress again and again.
        """
        refusals: dict[str, QatbuildError] = {}
        losses = sendings = saves = 0
        for number in count():
            if refusals and {*self._workers()} <= {*refusals}:
                raise next(iter(refusals.values()))
            outcome = self._attempts.attempt(task, refusals, number)
            if outcome is None:
                task.listener.idle.set()  # The worker died without a word.
            if outcome is None or outcome.end is End.INTERRUPTED:
                losses = losses + 1 if task.listener.saves == saves else 1
                saves = task.listener.saves
                if losses > _MOST_LOSSES:
                    facts = [("stage", task.stage), ("times", losses)]
                    raise StageError("The workers of a stage died again and again.", facts, _DYING)
            elif outcome.end is End.REFUSED:
                refusals[outcome.worker] = error = self._refusal(task, outcome)
                sys.stderr.write(f"{error.in_one_line()}\n")
            elif outcome.end is End.LACKS and sendings < _MOST_SENDINGS:
                self._packer.send_again(task.package, outcome.lacks)
                sendings += 1
            else:
                return outcome
        raise AssertionError

    def _refusal(self, task: Task, outcome: Outcome) -> QatbuildError:
        if outcome.error:
            return from_json(outcome.error)
        parcel = task.package.parcel
        return unlike_code(parcel.request, outcome.worker, self._code.table(parcel.modules), outcome.code)
