"""What many variants cost, against another commit: first build, no-op, list and one edited spec, in turns.

    python -m tests.benchmarks.growth_against ../other-checkout --variants 100 1000

Both checkouts have an environment of their own in `.venv`, made by `pip install -e . pytest`: doit looks at every
installed package when it starts, so one with more of them is slower. Each writes the graph of graph.py down in its own
specs, and builds it with its own toy stages. First builds of all variants are repeated three times, the rest nine
times; medians of wall seconds, and the ratio of the medians. Results go into
tests/benchmarks/results/growth_against.json and .md, and into qatbuild/docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Cost, commit_of, cost, host, median
from tests.benchmarks.table import EDITED, RESULTS, publish

_REPOSITORY = Path(__file__).parents[2]
_ROWS = ("build", "no-op", "list", EDITED)
_BUILDS, _TURNS = 3, 9
_WRITE = """
import pathlib, sys
from tests.benchmarks.graph import TOOLS
TOOLS["qatbuild"](pathlib.Path(sys.argv[1]), int(sys.argv[2]))
"""


def main(arguments: list[str]) -> int:
    """Measures, prints the table, writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="of the commit to compare with")
    parser.add_argument("--variants", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--out", type=Path, default=RESULTS / "growth_against")
    options = parser.parse_args(arguments)
    checkouts = {commit_of(each): each.absolute() for each in (options.checkout, _REPOSITORY)}
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {
                "variants": variants,
                "what": what,
                "costs": {side: asdict(median(costs[side, what])) for side in checkouts},
            }
            for variants in options.variants
            for costs in [_measured(Path(folder), checkouts, variants)]
            for what in _ROWS
        ]
    result = {"host": host(), "against": next(iter(checkouts)), "rows": rows}
    publish(options.out, result, markdown(result))
    return 0


def _measured(folder: Path, checkouts: Mapping[str, Path], variants: int) -> dict[tuple[str, str], list[Cost]]:
    """Returns the costs by commit and row."""
    costs: dict[tuple[str, str], list[Cost]] = {(side, what): [] for side in checkouts for what in _ROWS}
    for _ in range(_BUILDS):
        for side, checkout in checkouts.items():
            shutil.rmtree(folder / side, ignore_errors=True)
            subprocess.run([_python(checkout), "-c", _WRITE, folder / side, str(variants)], cwd=checkout, check=True)
            costs[side, "build"].append(_doit(checkout, folder / side))
    for _ in range(2):  # What was built a moment ago is looked at twice, for clocks are coarse.
        for side, checkout in checkouts.items():
            _doit(checkout, folder / side)
    for turn in range(_TURNS):
        for side, checkout in checkouts.items():
            costs[side, "no-op"].append(_doit(checkout, folder / side))
            costs[side, "list"].append(_doit(checkout, folder / side, "list"))
        for side, checkout in checkouts.items():
            spec = folder / side / f"specs/v{turn}.json"
            document = json.loads(spec.read_text())
            document["train"]["seed"] += 1_000_000
            spec.write_text(json.dumps(document))
            costs[side, EDITED].append(_doit(checkout, folder / side))
            _doit(checkout, folder / side)
    return costs


def _doit(checkout: Path, project: Path, *arguments: str) -> Cost:
    return cost([_python(checkout), "-m", "doit", *arguments], project, {"PYTHONPATH": str(checkout)})


def _python(checkout: Path) -> str:
    return str(checkout / ".venv/bin/python")


def markdown(result: dict[str, Any]) -> str:
    """Returns the table: seconds at both commits and their ratio, by row and number of variants."""
    sides: Sequence[str] = list(result["rows"][0]["costs"])
    lines = [f"| | variants | {' | '.join(sides)} | ratio |", "|---|--:|--:|--:|--:|"]
    for row in result["rows"]:
        before, after = (row["costs"][side]["wall_seconds"] for side in sides)
        lines.append(f"| {row['what']} | {row['variants']} | {before:.2f} | {after:.2f} | {after / before:.2f} |")
    about = result["host"]
    machine = f"{about['cpu']}, {about['threads']} threads, load {about['load']} at the end"
    return "\n".join([*lines, "", f"{about['date']}, {machine}, Python {about['python']}."]) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
