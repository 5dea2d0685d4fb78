"""Measures the page of a thousand models in Chromium: its size, the time until it can be used, sorting, filtering.

python -m tests.benchmarks.report_page [--out tests/benchmarks/results/report_page]

A time ends with the frame that shows the result. Needs Debian's chromium.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.benchmarks.measure import host
from tests.benchmarks.table import RESULTS, publish
from tests.page.thousand import thousand

COUNTS = (100, 1000, 5000)
TURNS = 5

_SHOWN = "await new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
_SORT = f"""async () => {{
  const times = [];
  for (const button of document.querySelectorAll(".models th button")) {{
    const start = performance.now();
    button.click();
    document.body.getBoundingClientRect();
    {_SHOWN};
    times.push(performance.now() - start);
  }}
  return times;
}}"""
_FILTER = f"""async () => {{
  const field = document.getElementById("filter"), start = performance.now();
  field.value = "variant-77";
  field.dispatchEvent(new Event("input"));
  {_SHOWN};
  return performance.now() - start;
}}"""


def measured(page: Page, file: Path) -> dict[str, float]:
    """Milliseconds of one visit: opening, sorting by the slowest column, filtering."""
    page.goto("about:blank")
    page.goto(file.as_uri())
    page.wait_for_selector("[data-ready]")
    opened = page.evaluate(f"async () => {{ {_SHOWN}; return performance.now(); }}")
    return {"open_ms": opened, "sort_ms": max(page.evaluate(_SORT)), "filter_ms": page.evaluate(_FILTER)}


def run() -> dict[str, Any]:
    """The medians of TURNS visits for each number of models."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for count in COUNTS:
            file = Path(folder, "report.html")
            file.write_text(thousand(Path(folder, str(count)), count), encoding="utf-8")
            visits = [measured(browser.new_page(), file) for _ in range(TURNS)]
            medians = {name: round(statistics.median(each[name] for each in visits), 1) for name in visits[0]}
            rows.append({"models": count, "bytes": file.stat().st_size, **medians})
        version = browser.version
        browser.close()
    return {"host": host(), "chromium": version, "rows": rows}


def markdown(result: dict[str, Any]) -> str:
    """The table of the page."""
    host_ = result["host"]
    lines = ["| models | kB | usable after, ms | sorted in, ms | filtered in, ms |", "|--:|--:|--:|--:|--:|"]
    for row in result["rows"]:
        times = " | ".join(f"{row[name]:.0f}" for name in ("open_ms", "sort_ms", "filter_ms"))
        lines.append(f"| {row['models']:,} | {row['bytes'] / 1000:,.0f} | {times} |")
    about = (
        f"Networks of 28 layers, no two with a figure in common. Medians. {host_['date']}, commit {host_['commit']}, "
        f"{host_['cpu']}, {host_['threads']} threads, load {host_['load']} at the end, Chromium {result['chromium']}."
    )
    return "\n".join([*lines, "", about]) + "\n"


def main() -> None:
    """Reads the command line, measures, and publishes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "report_page")
    out = parser.parse_args().out
    result = run()
    publish(out, result, markdown(result))


if __name__ == "__main__":
    main()
