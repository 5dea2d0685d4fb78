"""No figure of README.md is typed in."""

from __future__ import annotations

import json

from tests.benchmarks.table import RESULTS, in_readme, markdown


def test_the_table_in_the_readme_is_that_of_the_benchmark_s_results() -> None:
    result = json.loads((RESULTS / "growth.json").read_text())
    assert in_readme("growth") == (RESULTS / "growth.md").read_text() == markdown(result)
    assert {"commit", "date", "cpu", "threads"} <= set(result["host"])
