"""The cost of a training step in float and with fake quantization, beside tfmot's, and of two trainings at once.

    python -m tests.benchmarks.training

Each side has a process of its own; after a warm-up they take a few steps each by turns, so that a busy machine is busy
for all of them. Then two short trainings are built side by side and one after the other, by turns. Medians go into
tests/benchmarks/results/training.md and into qatbuild/docs/benchmarks.md, every single figure into training.json. The
numbers are of one machine and one hour: compare only numbers of the same table. tfmot gets an environment of its own,
in `--tfmot FOLDER` where it is kept and used again, else in a temporary one; it is left out, and the table says so,
with `--without-tfmot` or if pip cannot install it. With `--out` the tables go elsewhere, and not into benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import FailedRunError, host
from tests.benchmarks.table import RESULTS, publish
from tests.benchmarks.training.batch import SIZE
from tests.benchmarks.training.pipe import Worker
from tests.benchmarks.training.side_by_side import compare
from tests.benchmarks.training.sides import SIDES, TFMOT, environment, start, versions
from tests.benchmarks.training.table import markdown


def main(arguments: list[str]) -> int:
    """Measure, print the tables, write the files."""
    options = _arguments(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = _steps(options, Path(folder))
        if options.pairs:
            _say(f"two trainings, {options.pairs} times both ways")
            project = Path(folder) / "project"
            counts = {"steps": options.train_steps, "pairs": options.pairs, "images": options.images}
            result["side_by_side"] = compare(project, threads=options.threads, **counts)
    result = {"host": {**host(), "threads": options.threads, "cores": os.cpu_count()}, **result}
    publish(options.out, result, markdown(result))
    return 0


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10, help="of each side in a round")
    parser.add_argument("--warm-up", type=int, default=20, help="steps before the first round")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES, metavar="SIDE", help=", ".join(SIDES))
    parser.add_argument("--tfmot", type=Path, metavar="FOLDER")
    parser.add_argument("--without-tfmot", action="store_true")
    parser.add_argument("--pairs", type=int, default=3, help="how often two trainings run both ways; 0: not at all")
    parser.add_argument("--train-steps", type=int, default=300, help="of each of the two trainings")
    parser.add_argument("--images", type=int, default=50_000, help="that the two trainings have")
    parser.add_argument("--out", type=Path, default=RESULTS / "training")
    return parser.parse_args(arguments)


def _steps(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The seconds of each side's steps, round by round."""
    tfmot, left_out = None, {}
    wanted_of_tfmot = [side for side in TFMOT if side in options.sides]
    if options.without_tfmot:
        left_out = dict.fromkeys(wanted_of_tfmot, "not asked for")
    elif wanted_of_tfmot:
        _say("an environment for tfmot")
        try:
            tfmot = environment((options.tfmot or folder / "tfmot").absolute())
        except FailedRunError as failure:
            left_out = dict.fromkeys(wanted_of_tfmot, str(failure))
    sides = [side for side in options.sides if side not in left_out]
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for side in sides:
            _say(side)
            workers[side] = stack.enter_context(start(side, options.threads, tfmot))
            workers[side].steps(options.warm_up)
        rounds: dict[str, list[list[float]]] = {side: [] for side in sides}
        for turn in range(options.rounds):
            _say(f"round {turn + 1} of {options.rounds}")
            for side in sides if turn % 2 == 0 else reversed(sides):
                rounds[side].append(workers[side].steps(options.steps))
        measured = {
            side: {"precision": worker.about["precision"], "peak_bytes": worker.peak_bytes, "rounds": rounds[side]}
            for side, worker in workers.items()
        }
        counts = {"batch": SIZE, "steps": options.steps}
        return {**counts, "versions": versions(workers), "sides": measured, "left_out": left_out}


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except FailedRunError as failure:
        sys.exit(str(failure))
