"""Answers a question about data or a network: JSON on stdin, JSON on stdout.

    python -m qatbuild.worker.look data|speed

The exit status is 1 with an expected error instead of the answer.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

from qatbuild.exchange.errors import DatasetError, QatbuildError, system_facts, system_hint
from qatbuild.exchange.look import QUESTIONS, to_json

EXPECTED_FAILURE = 1


def main(name: str) -> int:
    """Answers the question on stdin; what libraries print goes to stderr."""
    answers = os.dup(1)
    os.dup2(2, 1)
    question = QUESTIONS[name].of(json.load(sys.stdin))
    try:
        try:
            answer = to_json(importlib.import_module(f"qatbuild.worker.look.{name}").answer(question))
        except OSError as fault:
            raise DatasetError("The data cannot be read.", system_facts(fault), system_hint(fault)) from fault
        text, status = json.dumps(answer), 0
    except QatbuildError as error:
        text, status = error.to_json(), EXPECTED_FAILURE
    with os.fdopen(answers, "w") as stream:
        stream.write(text)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
