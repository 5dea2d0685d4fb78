"""Every figure of README.md and docs/benchmarks.md comes from the results."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import table
from tests.benchmarks.measure import FailedRunError
from tests.benchmarks.pages import TABLES, text
from tests.benchmarks.table import RESULTS, in_page


@pytest.mark.parametrize("name", list(TABLES))
def test_the_table_in_a_page_is_that_of_the_benchmark_s_results(name: str) -> None:
    assert in_page(name) == (RESULTS / f"{name}.md").read_text() == text(name)
    result = json.loads((RESULTS / f"{TABLES[name][0]}.json").read_text())
    assert {"commit", "date", "cpu", "threads"} <= set(result["host"])


def test_every_model_with_results_is_a_label_of_a_shipped_spec() -> None:
    for name in ("accuracy", "precision"):
        labels = [row["label"] for row in json.loads((RESULTS / f"{name}.json").read_text())["rows"]]
        specs = {label.partition("@")[0] for label in labels}
        assert [spec for spec in specs if not (RESULTS.parents[2] / f"specs/{spec}.json").is_file()] == []


def test_a_page_without_a_place_for_a_table_is_left_as_it_is(tmp_path, monkeypatch):
    page = tmp_path / "benchmarks.md"
    page.write_text("nothing to fill in\n")
    monkeypatch.setattr(table, "BENCHMARKS", page)
    with pytest.raises(FailedRunError, match="no place"):
        table.into_page("growth")
    assert page.read_text() == "nothing to fill in\n"
