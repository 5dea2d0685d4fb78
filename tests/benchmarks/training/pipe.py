"""A process that takes steps on request, and its two ends: a number goes in, the steps' seconds come out.

Between two numbers it waits in a read, so that the sides of a benchmark can be alive at once and run by turns. Only the
standard library is imported here: tfmot's side has other packages.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from tests.benchmarks.measure import FailedRunError


class Worker:
    """The asking end. `about` is what the worker says of itself, `peak_bytes` its largest resident set so far."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the process, and wait until it is ready. FailedRunError with the end of its stderr if it is not."""
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self._command = " ".join(command)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=environment, text=True
        )
        self.peak_bytes = 0
        try:
            self.about = self._answer()
        except BaseException:
            self.__exit__()
            raise

    def steps(self, count: int) -> list[float]:
        """Have `count` steps taken; the seconds of each."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # It ended: the answer that does not come says why.
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        answer = self._answer()
        self.peak_bytes = answer["peak_bytes"]
        return list(answer["seconds"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            raise FailedRunError(f"{self._command} ended:\n{self._said.read()[-2000:]}")
        return dict(json.loads(line))


def serve(make: Callable[[], tuple[dict[str, Any], Callable[[int], list[float]]]]) -> None:
    """The answering end: `make` prepares the side and returns (facts about it, the function that takes steps)."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What libraries print must not get between the answers.
    about, steps = make()
    _write(answers, about)
    for line in sys.stdin:
        seconds = steps(int(line))
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        _write(answers, {"seconds": seconds, "peak_bytes": peak_bytes})


def _write(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
