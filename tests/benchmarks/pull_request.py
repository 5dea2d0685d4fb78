"""A pull request in a fresh clone with a warm cache: what it names, builds and comments, and how long that takes.

    python -m tests.benchmarks.pull_request --specs 1000 --repeat 3
    python -m tests.benchmarks.pull_request --specs 1000 --repeat 3 --real

A repository of so many specs, whose stages are toys, is built once by "main", which fills the cache. Then each turn
clones it, changes one spec on a branch, and runs what a workflow runs: `doit affected`, `doit` with the labels that it
printed, and `doit diff --format markdown`. With --real the spec of the digits, with the real toolchain, takes a turn,
too: minutes. Of these the stages themselves are subtracted, as each says how long it took: what is left is what a pull
request costs besides its training. The clones reach the cache as a folder, and through an HTTP server whose answers
take as long as those of one in another town.

Results go into tests/benchmarks/results/pull_request.json and .md, and into qatbuild/docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks import graph
from tests.benchmarks.cache_server import served
from tests.benchmarks.measure import Cost, cost, host, median
from tests.benchmarks.table import RESULTS, publish

REPOSITORY = Path(__file__).parents[2]
BASE = "origin/main"
_IGNORED = "build/\n__pycache__/\n*.txt\n"
_SETTINGS = "[tool.qatbuild]\nthreads = 2\n"
_LIMIT_SECONDS = 3600


class Turn(NamedTuple):
    """One pull request: the cost of each command, the seconds of the stages that ran, and the comment."""

    costs: dict[str, Cost]
    stage_seconds: float
    labels: list[str]
    comment: str

    @property
    def own_seconds(self) -> float:
        """The wall seconds of all commands without those of the stages."""
        return sum(each.wall_seconds for each in self.costs.values()) - self.stage_seconds


class Scripted(NamedTuple):
    """A repository whose main branch fills the folder `cache`. `edit` changes one spec, differently at every turn."""

    root: Path
    cache: Path
    edit: Callable[[Path, int], None]

    def built(self) -> Cost:
        """Commits everything as main, and builds it, which fills the cache."""
        (self.root / ".gitignore").write_text(_IGNORED)
        (self.root / "pyproject.toml").write_text(_SETTINGS)
        git(self.root, "init", "-q", "-b", "main")
        git(self.root, "add", "-A")
        git(self.root, "commit", "-qm", "all specs")
        return _doit(self.root, str(self.cache))

    def pull_request(self, clone: Path, cache: str, turn: int = 0) -> Turn:
        """Makes a pull request of one changed spec in the new folder `clone`, and does what a workflow does.

        `cache` is where the clone reaches the cache.
        """
        costs = {"clone": cost(["git", "clone", "-q", str(self.root), str(clone)], self.root, {})}
        git(clone, "checkout", "-qb", "branch")
        self.edit(clone, turn)
        git(clone, "commit", "-qam", "one spec")
        costs["affected"] = _doit(clone, cache, "affected", "--since", BASE)
        labels = _output(clone).split()
        costs["build"] = _doit(clone, cache, *labels)
        costs["diff"] = _doit(clone, cache, "diff", BASE, "--format", "markdown")
        return Turn(costs, _stage_seconds(clone), labels, _output(clone))


def toys(root: Path, specs: int, cache: Path) -> Scripted:
    """A repository of toy specs, which differ in their seed."""
    project = graph.qatbuild(root, specs)

    def edit(clone: Path, turn: int) -> None:
        spec = clone / project.spec(turn % specs).relative_to(root)
        document = json.loads(spec.read_text())
        spec.write_text(json.dumps({**document, "train": {**document["train"], "steps": 200 + turn}}))

    return Scripted(root, cache, edit)


def digits(root: Path, cache: Path) -> Scripted:
    """A repository of the shipped spec of the digits, with the real toolchain."""
    (root / "specs").mkdir(parents=True)
    for name in ("dodo.py", "specs/digits.json"):
        shutil.copyfile(REPOSITORY / name, root / name)

    def edit(clone: Path, turn: int) -> None:
        spec = clone / "specs/digits.json"
        document = json.loads(spec.read_text())
        steps = {"steps": 300 + turn}
        spec.write_text(json.dumps({**document, "quantize": {**document.get("quantize", {}), **steps}}))

    return Scripted(root, cache, edit)


def git(folder: Path, *arguments: str) -> None:
    """Runs git, as somebody without settings of its own."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def _doit(folder: Path, cache: str, *arguments: str) -> Cost:
    environment = {"PYTHONPATH": str(REPOSITORY), "QATBUILD_CACHE": cache}
    return cost([sys.executable, "-m", "doit", *arguments], folder, environment, limit_seconds=_LIMIT_SECONDS)


def _output(folder: Path) -> str:
    """What the last command in a folder printed, without its last line feed."""
    return (folder / "output.txt").read_text(encoding="utf-8")


def _stage_seconds(clone: Path) -> float:
    """The wall seconds of the real stages that ran in a clone. Toys count as nothing: they are not subtracted."""
    return sum(json.loads(file.read_text())["seconds"] for file in clone.glob("build/**/*.run.json"))


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--real", action="store_true", help="also the digits, with the real toolchain")
    parser.add_argument("--out", type=Path, default=RESULTS / "pull_request")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = {f"{options.specs:,} toy specs": (toys(folder / "toys", options.specs, folder / "1"), options.repeat)}
        if options.real:
            made["the digits, not toys"] = digits(folder / "digits", folder / "2"), 1
        rows = [row for what, (scripted, repeat) in made.items() for row in _rows(what, scripted, repeat)]
    result = {"host": host(), "rows": rows}
    publish(options.out, result, markdown(result))
    return 0


def _rows(what: str, scripted: Scripted, repeat: int) -> Iterator[dict[str, Any]]:
    """Yields the figures of a repository: for each way to its cache the medians of its turns."""
    main_seconds = scripted.built().wall_seconds
    numbers = count()  # What one turn built, another of its number would restore.
    for place, way in _WAYS.items():
        turns = []
        for turn in islice(numbers, repeat):
            clone = scripted.root.with_name(f"{scripted.root.name}-{turn}")
            with way(scripted.cache) as cache:
                turns.append(scripted.pull_request(clone, cache, turn))
            assert len(turns[-1].labels) == 1, turns[-1].labels
            shutil.rmtree(clone)
        yield {
            "what": what,
            "cache": place,
            "main_seconds": main_seconds,
            "median": {name: asdict(median([each.costs[name] for each in turns])) for name in turns[0].costs},
            "stage_seconds": statistics.median(each.stage_seconds for each in turns),
            "own_seconds": statistics.median(each.own_seconds for each in turns),
            "all_own_seconds": [each.own_seconds for each in turns],
            "load": round(os.getloadavg()[0], 1),
        }


_FAR_MS = 20
_WAYS: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "a folder": lambda place: nullcontext(str(place)),
    f"HTTP, {_FAR_MS} ms away": lambda place: served(place, _FAR_MS),
}
"""A way to a cache -> a context that yields its URL."""


def markdown(result: dict[str, Any]) -> str:
    """Wall seconds of each command of a pull request, and of all of them without the stages."""
    host, rows = result["host"], result["rows"]
    steps = list(rows[0]["median"])
    heads = ["", "cache", *(f"{step} s" for step in steps), "stages s", "all, without stages s"]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "--:|" * (len(heads) - 2)]
    for row in rows:
        seconds = [row["median"][step]["wall_seconds"] for step in steps]
        figures = [*seconds, row["stage_seconds"], row["own_seconds"]]
        lines.append(f"| {row['what']} | {row['cache']} | {' | '.join(f'{each:.2f}' for each in figures)} |")
    about = (
        f"Wall seconds, medians. {host['date']}, commit {host['commit']}, {host['cpu']}, {host['threads']} threads, "
        f"load {host['load']} at the end, Python {host['python']}."
    )
    return "\n".join([*lines, "", about]) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
