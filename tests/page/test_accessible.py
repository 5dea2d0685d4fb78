"""axe-core, which browsers' own audits use, finds nothing to complain about in any view, light, dark and narrow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

VIEWS = ("", "#small", "#lost", "#?compare=small&with=lossy", "#?changes")
PLAIN_VIEWS = ("#net", "#?changes")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened: Callable[..., Page], file: Path, plain_file: Path, scheme: str) -> None:
    for path, address in [*((file, view) for view in VIEWS), *((plain_file, view) for view in PLAIN_VIEWS)]:
        page = opened(path, address, color_scheme=scheme, bypass_csp=True)  # The page's own policy stops axe, too.
        results = Axe().run(page)
        assert results.violations_count == 0, f"{address}\n{results.generate_report()}"


def test_axe_finds_nothing_on_a_telephone(opened: Callable[..., Page], file: Path) -> None:
    for address in VIEWS:
        results = Axe().run(opened(file, address, viewport={"width": 390, "height": 844}, bypass_csp=True))
        assert results.violations_count == 0, f"{address}\n{results.generate_report()}"
