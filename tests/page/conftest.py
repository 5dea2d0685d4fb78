"""Chromium without a window, and pages that are opened in it. Whatever such a page writes to the console is an error.

needs Debian's chromium, or Chrome; in CI (.ci/run) it is there.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from qatbuild.report.comparison import Model, difference
from qatbuild.report.failures import Failure
from qatbuild.report.models import ModelReport
from qatbuild.report.page import write
from qatbuild.report.page.document import Changes
from tests.page.project import HOSTILE, Net, built

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
NETS = {
    "wide": Net(top1=91.0, drop=0.1, bytes=80_000, latency_ms=1.5, steps=2000, seconds=40, right=(95, 90, 88)),
    "small": Net(top1=89.8, drop=0.4, bytes=30_000, latency_ms=0.9, worst="conv2", right=(80, 93, 88)),
    "tiny": Net(top1=86.0, drop=0.9, bytes=12_000, latency_ms=0.4, scheme="uint8"),
    "quick": Net(top1=89.9, drop=0.3, bytes=60_000, latency_ms=0.2, scheme="int8_per_channel"),
    "lossy": Net(top1=70.0, drop=20.0, bytes=29_000, latency_ms=0.8, worst="conv2", passed=False, right=(70, 60, 80)),
    "team/net@a'b": Net(top1=88.0, warnings=(HOSTILE,)),
}
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
FAILURES = {"lost:float": Failure("lost", "float", "Out of memory.\n  hint: take smaller batches")}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser on PATH: {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of six models, one of which is refused, and one that failed; and what changed since main."""
    folder = tmp_path_factory.mktemp("page")
    models = built(folder / "build", NETS, FAILURES)
    change = difference(
        "small",
        Model({"train": {"steps": 500}}, before(models[1])),
        Model({"train": {"steps": 1000}}, models[1].report),
        (),
    )
    write(folder / "report.html", models, changes=Changes("main", "the working tree", [change]))
    return folder / "report.html"


def before(model: ModelReport) -> dict[str, Any]:
    """The report of a model at an earlier time, when it was larger and worse, and its latency the same."""
    report = copy.deepcopy(model.report or {})
    report["bytes"]["tflite"] = 35_000
    report["metrics"]["top1"]["tflite"] = 88.3
    report["layers"][0]["saturated_percent"] = 3.0
    return report


@pytest.fixture(scope="session")
def plain_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page as a build writes it: without another time. Its only model loses nothing."""
    folder = tmp_path_factory.mktemp("page")
    write(folder / "report.html", built(folder / "build", {"net": Net(worst="")}))
    return folder / "report.html"


def outside(url: str) -> list[str]:
    """The address, if it is neither the page itself nor an image in it."""
    return [] if url.startswith(("file:", "data:")) else [url]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a file at an address in a page of its own: opened(file, "#label", **options of the browser's context)."""
    faults: list[str] = []
    contexts = []

    def open_page(file: Path, address: str = "", **options: object) -> Page:
        context = browser.new_context(offline=True, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: faults.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: faults.extend(outside(request.url)))
        page.goto(f"{file.as_uri()}{address}")
        page.wait_for_selector("[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
