"""The table of the growth benchmark, and the places of all tables in README.md and qatbuild/docs/benchmarks.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.graph import TOOLS
from tests.benchmarks.measure import FailedRunError

RESULTS = Path(__file__).parent / "results"
_REPOSITORY = Path(__file__).parents[2]
PAGES = {"summary": _REPOSITORY / "README.md", "scale": _REPOSITORY / "qatbuild/docs/scale.md"}
"""Name of a table -> the page that holds it, where that is not BENCHMARKS."""
BENCHMARKS = _REPOSITORY / "qatbuild/docs/benchmarks.md"
_END = "<!-- end -->\n"


EDITED = "one edited"
LESS_STAGES = "one edited, less its stages"
NOTHING_RUNS = "one edited, nothing to run"


def markdown(result: dict[str, Any]) -> str:
    """Wall seconds (CPU seconds) and peak MiB of each tool, by what was done and by the number of variants."""
    host, rows = result["host"], result["rows"]
    cells = {(row["what"], row["variants"], row["tool"]): _cell(row) for row in rows}
    walls = {(row["what"], row["variants"], row["tool"]): row.get("median") for row in rows}
    lines = [
        "| | variants | " + " | ".join(TOOLS) + " | qatbuild / doit |",
        "|---|--:|" + "--:|" * (len(TOOLS) + 1),
    ]
    for what, variants in sorted({(row["what"], row["variants"]) for row in rows}):
        own, plain = (walls.get((what, variants, tool)) for tool in ("qatbuild", "doit"))
        if own is None:  # projects that were kept are not built again: there is nothing to compare
            continue
        ratio = f"{own['wall_seconds'] / plain['wall_seconds']:.2f}" if own and plain else ""
        figures = " | ".join(cells.get((what, variants, tool), "") for tool in TOOLS)
        lines.append(f"| {what} | {variants} | {figures} | {ratio} |")
    about = (
        f"Wall seconds (CPU seconds), peak MiB; medians, the tools in turns. {host['date']}, commit {host['commit']}, "
        f"{host['cpu']}, {host['threads']} threads, load {host['load']} at the end, Python {host['python']}."
    )
    return "\n".join([*lines, "", about, *_over_the_no_op(walls)]) + "\n"


def _over_the_no_op(walls: dict[tuple[str, int, str], Any]) -> list[str]:
    """The cost of an edit over that of no edit: a sentence for each number of variants for which both were measured."""
    lines = []
    for variants in sorted({variants for what, variants, _ in walls if what == LESS_STAGES}):
        medians = [walls.get((what, variants, "qatbuild")) for what in ("no-op", LESS_STAGES, NOTHING_RUNS)]
        milliseconds = [each["wall_seconds"] * 1000 for each in medians if each]
        if len(milliseconds) == len(medians):
            idle, less, nothing = milliseconds
            lines.append(
                f"One spec edited among {variants:,}: {less - idle:.0f} ms over the no-op besides its stages, "
                f"{nothing - idle:.0f} ms if none has to run."
            )
    return ["", *lines] if lines else []


def _cell(row: dict[str, Any]) -> str:
    if "skipped" in row:
        return str(row["skipped"])
    mid = row["median"]
    return f"{mid['wall_seconds']:.2f} ({mid['cpu_seconds']:.2f}), {mid['peak_bytes'] / 2**20:.0f}"


def publish(out: Path, result: dict[str, Any], text: str) -> None:
    """Writes OUT.json and OUT.md, prints the text, and puts it into its page if OUT lies below results/."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    out.with_suffix(".md").write_text(text)
    if out.absolute().parent == RESULTS:
        into_page(out.name)
    sys.stdout.write(text)


def page(name: str) -> Path:
    """The page that holds the table of results/NAME.md."""
    return PAGES.get(name, BENCHMARKS)


def in_page(name: str) -> str:
    """The table of results/NAME.md as its page has it; empty if the page has no place for it."""
    return page(name).read_text(encoding="utf-8").partition(_begin(name))[2].partition(_END)[0]


def into_page(name: str) -> None:
    """Puts the table of results/NAME.md into its page, where its name stands in a comment."""
    file = page(name)
    before, begin, rest = file.read_text(encoding="utf-8").partition(_begin(name))
    if not begin:
        raise FailedRunError(f"{file.name} has no place for the table: {_begin(name)}")
    table = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    file.write_text(before + begin + table + _END + rest.partition(_END)[2], encoding="utf-8")


def _begin(name: str) -> str:
    return f"<!-- tests/benchmarks/results/{name}.md -->\n"
