"""The cost of an up-to-date build, and of a small edit, in qatbuild, plain doit, ninja, Snakemake and DVC.

    python -m tests.benchmarks --variants 10 100 1000 5000

builds each graph once, then takes the tools in turns, so that a busy machine is busy for all of them. Medians go into
tests/benchmarks/results/growth.md and into qatbuild/docs/benchmarks.md, every single figure into growth.json. The
numbers are of one machine and one hour: compare only numbers of the same table. With `--keep FOLDER` the built projects
stay there and are used again; with `--add` other sizes stay as they were measured, at the same commit; with `--out` the
table goes elsewhere, and not into benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.graph import TOOLS, Project
from tests.benchmarks.measure import Cost, FailedRunError, cost, host, median
from tests.benchmarks.table import EDITED, LESS_STAGES, NOTHING_RUNS, RESULTS, markdown, publish

_BIG = {"snakemake": 100, "dvc": 10}
"""Up to how many variants a tool manages in the time that a benchmark may take."""

_DATA_BYTES = 200_000_000


def main(arguments: list[str]) -> int:
    """Measure, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=list(TOOLS))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "growth")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--add", action="store_true")
    parser.add_argument("--data", type=int, default=0, metavar="N", help="200 MB of data that N variants share, too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for variants in options.variants
            for row in _measure((options.keep or Path(folder)).absolute(), variants, options.tools, options.repeat)
        ]
        if options.data:
            rows += _big_data(
                Path(folder), options.data, [tool for tool in options.tools if tool in {"qatbuild", "doit"}]
            )
    result: dict[str, Any] = {"host": host(), "rows": rows}
    if options.add:
        former = json.loads(options.out.with_suffix(".json").read_text())
        if any(former["host"][name] != result["host"][name] for name in ("commit", "cpu", "threads", "python")):
            raise FailedRunError(f"{options.out}.json is of another commit or machine: {former['host']}")
        result["rows"] = [row for row in former["rows"] if row["variants"] not in options.variants] + rows
    publish(options.out, result, markdown(result))
    return 0


def _measure(folder: Path, variants: int, tools: list[str], repeat: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    projects: dict[str, Project] = {}
    for tool in tools:
        project = _built(folder / f"{tool}-{variants}", tool, variants, rows)
        if project is not None:
            projects[tool] = project
            for _ in range(2):  # What was built a moment ago is looked at twice, for clocks are coarse.
                cost(project.build, project.root, project.environment)
    costs_by_row: dict[tuple[str, str], list[Cost]] = {}
    for turn in range(repeat):
        for tool, project in projects.items():
            costs_by_row.setdefault((tool, "no-op"), []).append(cost(project.build, project.root, project.environment))
            if project.list:
                listed = cost(project.list, project.root, project.environment)
                costs_by_row.setdefault((tool, "list"), []).append(listed)
        for tool, project in projects.items():
            spec = project.spec(turn % variants)
            spec.write_text(_other(spec.read_text()))
            stages = project.root / "stages.txt"
            stages.unlink(missing_ok=True)
            edited = cost(project.build, project.root, project.environment)
            costs_by_row.setdefault((tool, EDITED), []).append(edited)
            if stages.exists():
                costs_by_row.setdefault((tool, LESS_STAGES), []).append(_less(edited, stages.read_text()))
            cost(project.build, project.root, project.environment)
            if tool == "qatbuild":  # The only one that looks into the file.
                spec.write_text(json.dumps({**json.loads(spec.read_text()), "description": f"turn {turn}"}))
                described = cost(project.build, project.root, project.environment)
                costs_by_row.setdefault((tool, NOTHING_RUNS), []).append(described)
                cost(project.build, project.root, project.environment)
    return rows + [_row(tool, variants, what, costs) for (tool, what), costs in costs_by_row.items()]


def _built(where: Path, tool: str, variants: int, rows: list[dict[str, object]]) -> Project | None:
    """A tool's project, built here or in an earlier run; None, and a row that says why, if it is left out."""
    if variants > _BIG.get(tool, variants):
        rows.append({"tool": tool, "variants": variants, "what": "build", "skipped": "takes too long"})
        return None
    if where.exists():
        with tempfile.TemporaryDirectory() as elsewhere:
            project = TOOLS[tool](Path(elsewhere) / "again", variants)
        return None if isinstance(project, str) else _moved(project, where)
    project = TOOLS[tool](where, variants)
    if isinstance(project, str):
        rows.append({"tool": tool, "variants": variants, "what": "build", "skipped": project})
        return None
    rows.append(_row(tool, variants, "build", [cost(project.build, project.root, project.environment)]))
    return project


def _moved(project: Project, root: Path) -> Project:
    return Project(
        root,
        project.build,
        project.list,
        lambda number: root / project.spec(number).relative_to(project.root),
        project.environment,
    )


def _other(text: str) -> str:
    """The spec with another seed, one that no variant has."""
    document = json.loads(text)
    part = document.get("train", document)
    part["seed"] += 1_000_000
    return json.dumps(document)


def _less(whole: Cost, stages: str) -> Cost:
    """The cost of a build without the seconds (wall, CPU) of its stages."""
    wall, cpu = (sum(map(float, column)) for column in zip(*map(str.split, stages.splitlines()), strict=True))
    return Cost(whole.wall_seconds - wall, whole.cpu_seconds - cpu, whole.peak_bytes)


def _big_data(folder: Path, variants: int, tools: list[str]) -> list[dict[str, object]]:
    """A data set of 200 MB that the variants share: touched, and unchanged again."""
    rows = []
    for tool in tools:
        project = TOOLS[tool](folder / f"{tool}-data", variants)
        assert isinstance(project, Project)
        data = project.root / "specs/data.bin"
        data.write_bytes(os.urandom(1 << 20).hex().encode() * (_DATA_BYTES >> 21))
        if tool == "doit":  # There every variant's float training reads it, which is where the hours go.
            text = (project.root / "dodo.py").read_text()
            text = text.replace('"targets": files[name]', '"targets": files[name], "uptodate": [True]')
            text = text.replace('"file_dep": [f"specs/v{number}', '"file_dep": ["specs/data.bin", f"specs/v{number}')
            (project.root / "dodo.py").write_text(text.replace("(name).read()", "(name).read(1000)"))
        costs_by_row: dict[str, list[Cost]] = {}
        cost(project.build, project.root, project.environment)
        for _ in range(3):
            data.touch()
            touched = cost(project.build, project.root, project.environment)
            costs_by_row.setdefault("200 MB touched", []).append(touched)
            after = cost(project.build, project.root, project.environment)
            costs_by_row.setdefault("200 MB, after the touch", []).append(after)
        rows += [_row(tool, variants, what, costs) for what, costs in costs_by_row.items()]
    return rows


def _row(tool: str, variants: int, what: str, costs: list[Cost]) -> dict[str, object]:
    return {
        "tool": tool,
        "variants": variants,
        "what": what,
        "median": asdict(median(costs)),
        "all": [asdict(item) for item in costs],
    }


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except FailedRunError as failure:
        sys.exit(str(failure))
