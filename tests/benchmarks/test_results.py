"""No figure of README.md is typed in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.benchmarks import accuracy, table
from tests.benchmarks.measure import FailedRunError
from tests.benchmarks.table import RESULTS, in_readme
from tests.benchmarks.training import table as training


@pytest.mark.parametrize(
    ("name", "markdown"),
    [
        ("growth", table.markdown),
        ("training", training.markdown),
        ("accuracy", accuracy.markdown),
        ("precision", accuracy.markdown),
    ],
)
def test_the_table_in_the_readme_is_that_of_the_benchmark_s_results(
    name: str, markdown: Callable[[dict[str, Any]], str]
) -> None:
    file = RESULTS / f"{name}.json"
    if not file.exists():
        assert in_readme(name) == ""
        return
    result = json.loads(file.read_text())
    assert in_readme(name) == (RESULTS / f"{name}.md").read_text() == markdown(result)
    assert {"commit", "date", "cpu", "threads"} <= set(result["host"])


def test_a_readme_without_a_place_for_a_table_is_left_as_it_is(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text("nothing to fill in\n")
    monkeypatch.setattr(table, "README", readme)
    with pytest.raises(FailedRunError, match="no place"):
        table.into_readme("growth")
    assert readme.read_text() == "nothing to fill in\n"
