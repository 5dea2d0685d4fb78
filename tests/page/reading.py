"""Reads a page's block of JSON as the page's own scripts do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def block(page: str) -> str:
    """The text of the block of JSON."""
    return page.partition('id="data">')[2].partition("</script>")[0]


def shown(page: str | Path) -> list[dict[str, Any]]:
    """The models of a page, its text or its path, each with its row, and its parts by name."""
    data = json.loads(block(page if isinstance(page, str) else page.read_text()))
    for model, indices in zip(data["models"], data["indices"], strict=True):
        pairs = [(data["names"][data["parts"][at]], data["shared"][at]) for at in indices]
        model["parts"] = {name: part for name, part in pairs if name not in data["left_out"]}
    return list(data["models"])


def without_clocks(page: Path) -> list[dict[str, Any]]:
    """The models of a page without the times that differ in every build."""
    models = shown(page)
    for model in models:
        for name in ("built", "seconds"):
            model.pop(name, None)
        stages = {name: part for name, part in model["parts"].items() if name.startswith("stage ")}
        model["parts"] |= {name: part[2:] for name, part in stages.items()}
    return models
