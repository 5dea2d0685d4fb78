"""Writes every table again from its results, into results/*.md and into the page that shows it. It measures nothing.

python -m tests.benchmarks.pages
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.benchmarks import (
    accuracy,
    dask_sweep,
    diagnosis,
    growth_against,
    keras_applications,
    large_networks,
    pictures,
    pull_request,
    report_page,
    restore,
    simulation,
    table,
)
from tests.benchmarks.table import RESULTS, into_page
from tests.benchmarks.training import table as training

TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "growth": ("growth", table.markdown),
    "growth_against": ("growth_against", growth_against.markdown),
    "training": ("training", training.markdown),
    "accuracy": ("accuracy", accuracy.markdown),
    "precision": ("precision", accuracy.markdown),
    "keras_applications": ("keras_applications", keras_applications.markdown),
    "large_networks": ("large_networks", large_networks.markdown),
    "diagnosis": ("diagnosis", diagnosis.markdown),
    "pictures": ("pictures", pictures.markdown),
    "pull_request": ("pull_request", pull_request.markdown),
    "dask_sweep": ("dask_sweep", dask_sweep.markdown),
    "restore": ("restore", restore.markdown),
    "report_page": ("report_page", report_page.markdown),
    "scale": ("dask_sweep", simulation.markdown),
    "summary": ("accuracy", accuracy.summary),
}
"""Name of a table -> (name of the JSON file with its figures, the function that makes Markdown of them)."""


def text(name: str) -> str:
    """The Markdown of a table, from the figures in its JSON file."""
    results, markdown = TABLES[name]
    return markdown(json.loads((RESULTS / f"{results}.json").read_text(encoding="utf-8")))


def main() -> None:
    """Writes all tables."""
    for name in TABLES:
        (RESULTS / f"{name}.md").write_text(text(name), encoding="utf-8")
        into_page(name)


if __name__ == "__main__":
    main()
