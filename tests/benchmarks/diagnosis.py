"""How often `doit diagnose` is right about networks that its rules were not made with, and `doit cure` mends them.

    python -m tests.benchmarks.diagnosis
    python -m tests.benchmarks.diagnosis second --mend

The networks are those of tests/diagnosis/unseen: rounds of broken ones, each in another way, and of sound ones. The
real doit builds and diagnoses them. A broken one counts as recognized if the first finding has the right cause in the
right layer, a sound one if there is no finding. With `--mend` the broken ones are searched, at most `--budget` attempts
each; where a search has tried all that it knows, no field mends the network, which is counted by itself. Results go
into tests/benchmarks/results/diagnosis.json and .md, and into qatbuild/docs/benchmarks.md; what earlier commits made of
a round stays there, the first run before all, which no rule could know. A minute or two for each round, several more
with --mend.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import host
from tests.benchmarks.table import RESULTS, publish
from tests.diagnosis.unseen.cases import ROUNDS, SOUND, Case

_REPOSITORY = Path(__file__).parents[2]
_UNSEEN = _REPOSITORY / "tests/diagnosis/unseen"


def main(arguments: list[str]) -> int:
    """Build and diagnose the networks of each round, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="*", default=list(ROUNDS), help=", ".join(ROUNDS))
    parser.add_argument("--mend", action="store_true", help="search for a patch of each broken one, too")
    parser.add_argument("--budget", default="12", help="the most attempts of a search")
    parser.add_argument("--keep", type=Path, help="a folder in which the projects stay")
    parser.add_argument("--out", type=Path, default=RESULTS / "diagnosis")
    options = parser.parse_args(arguments)
    file = options.out.with_suffix(".json")
    runs = json.loads(file.read_text())["runs"] if file.is_file() else []
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.rounds:
            root = (options.keep or Path(temporary)).absolute() / name
            rows = _rows(root, ROUNDS[name], options.budget if options.mend else None)
            runs = [each for each in runs if (each["round"], each["host"]["commit"]) != (name, host()["commit"])]
            runs.append(
                {"round": name, "host": host(), "budget": options.budget if options.mend else None, "rows": rows}
            )
    publish(options.out, {"host": host(), "runs": runs}, markdown({"runs": runs}))
    return 0


def _rows(root: Path, cases: Mapping[str, Case], budget: str | None) -> list[dict[str, Any]]:
    """Build a round's project; a row for each network."""
    (root / "specs").mkdir(parents=True, exist_ok=True)
    for source in [_REPOSITORY / "dodo.py", *(_UNSEEN / "project").glob("[a-z]*.py")]:
        shutil.copy(source, root)
    for name, case in cases.items():
        (root / "specs" / f"{name}.json").write_text(json.dumps(case.fields))
    _doit(root, "-c")
    findings = json.loads(_doit(root, "diagnose", "--format", "json"))
    broken = [name for name, case in cases.items() if case.cause != SOUND]
    searches = json.loads(_doit(root, "cure", *broken, "--budget", budget, "--format", "json")) if budget else []
    results = {each["label"]: each for each in searches}
    return [_row(root, name, case, findings[name], results.get(name)) for name, case in cases.items()]


def _row(
    root: Path, name: str, case: Case, findings: list[dict[str, Any]], search: dict[str, Any] | None
) -> dict[str, Any]:
    gates = json.loads((root / "build" / name / "report.json").read_text())["gates"]
    cured = (
        {
            "cured": search["passed"],
            "attempts": len(search["tried"]),
            "patch": search["patch"],
            "cost": search["tried"][-1]["cost"] if search["passed"] else None,
            "limit": search["limit"],
        }
        if search
        else {}
    )
    return {
        "network": name,
        "broken": {"cause": case.cause, "layers": list(case.layers)},
        "named": [{"cause": each["cause"], "layer": each["layer"]} for each in findings],
        "recognized": is_recognized(case, findings),
        "passes_gates": all(gate["passed"] for gate in gates),
        **cured,
    }


def is_recognized(case: Case, findings: list[dict[str, Any]]) -> bool:
    """Whether the first finding names the cause and one of the layers, or nothing is found in a sound network."""
    if case.cause == SOUND or not findings:
        return case.cause == SOUND and not findings
    layer = findings[0]["layer"]
    here = not case.layers or any(layer == each or layer.startswith((f"{each}_", f"{each}/")) for each in case.layers)
    return here and bool(findings[0]["cause"] == case.cause)


def _doit(root: Path, *arguments: str) -> str:
    """Run doit, which may end with 1 where a model is refused by its gates; what it printed."""
    command = [sys.executable, "-m", "doit", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY)}
    done = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout


def markdown(result: dict[str, Any]) -> str:
    """A line for each network with the last run of its round, and the score of each run."""
    lines = ["| round | network | broken by | named first | mended, attempts, cost |", "|---|---|---|---|---|"]
    scores = []
    for name in dict.fromkeys(run["round"] for run in result["runs"]):
        runs = [run for run in result["runs"] if run["round"] == name]
        lines += [_line(name, row) for row in runs[-1]["rows"]]
        scores += ["", f"Runs of the {name} round, in their order:", "", *(f"- {_score(run)}" for run in runs)]
    return "\n".join([*lines, *scores]) + "\n"


def _line(name: str, row: dict[str, Any]) -> str:
    at = ", ".join(row["broken"]["layers"]) or "all layers"
    wrong = f"{row['broken']['cause']}: {at}" if row["broken"]["cause"] else "sound"
    first = next((f"{each['cause']}: {each['layer']}" for each in row["named"]), "nothing")
    mark = "" if row["recognized"] else " (wrong)"
    return f"| {name} | {row['network']} | {wrong} | {first}{mark} | {_mended(row)} |"


def _mended(row: dict[str, Any]) -> str:
    """Whether a network is mended, after how many attempts, and at what cost; '' if none was made."""
    if "cured" not in row:
        return ""
    if row["cured"]:
        return f"yes, {row['attempts']}" + (f", {row['cost']}" if row.get("cost") else "")
    return f"{'no field mends it' if row.get('limit') else 'no'}, {row['attempts']}"


def _score(run: dict[str, Any]) -> str:
    """How many of the broken and of the sound networks are recognized, and how many mended, at which commit."""
    broken = [row for row in run["rows"] if row["broken"]["cause"]]
    sound = [row for row in run["rows"] if not row["broken"]["cause"]]
    searched = [row for row in broken if "cured" in row]
    cured = f", {sum(row['cured'] for row in searched)} of {len(searched)} mended" if searched else ""
    if searched and (limited := sum(bool(row.get("limit")) for row in searched)):
        cured += f", {limited} that no field mends"
    if run.get("budget"):
        cured += f" within {run['budget']} attempts"
    right = (sum(row["recognized"] for row in rows) for rows in (broken, sound))
    of = f"{next(right)} of {len(broken)} causes and layers, {next(right)} of {len(sound)} sound ones without a finding"
    return f"{of}{cured} ({run['host']['date']}, commit {run['host']['commit']})"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
