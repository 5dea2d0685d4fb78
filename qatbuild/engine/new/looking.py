"""Asks a process of the worker half (worker/look) about data and networks: the engine imports no NumPy."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from qatbuild.engine.execute.local import worker_environment
from qatbuild.exchange.errors import StageError, from_json
from qatbuild.exchange.look import DataLook, DataQuestion, Question, Speed, SpeedQuestion, to_json

_EXPECTED_FAILURE = 1
_LINES = 12


def look_at(question: DataQuestion) -> DataLook:
    """Returns what the data are; DatasetError if no spec could use them."""
    return DataLook.of(_answer("data", question))


def speed_of(question: SpeedQuestion) -> Speed:
    """Returns the time of a training step; StageError if the network cannot be built."""
    return Speed(**_answer("speed", question))


def _answer(name: str, question: Question) -> Any:
    command = [sys.executable, "-P", "-m", "qatbuild.worker.look", name]
    done = subprocess.run(
        command,
        input=json.dumps(to_json(question)),
        capture_output=True,
        text=True,
        check=False,
        env=worker_environment(),
    )
    if done.returncode == _EXPECTED_FAILURE:
        try:
            error = from_json(done.stdout)
        except ValueError:  # A bug: its traceback is on stderr.
            pass
        else:
            raise error
    if done.returncode:
        lines = "\n".join(done.stderr.splitlines()[-_LINES:])
        raise StageError(
            f"The look at the {name} failed unexpectedly.", [("status", done.returncode), ("last lines", lines)]
        )
    return json.loads(done.stdout)
