"""The documentation: its length, its links, and its generated parts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs import reference, screenshot
from tests.docs.pages import BLOCKS, DOCS, PAGES, REPOSITORY

README = REPOSITORY / "README.md"
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(README.read_text().splitlines()) <= 150


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in _LINK.findall(text):
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    assert list(broken_links(page)) == []


def test_the_readme_leads_to_every_page() -> None:
    links = {target for target, _ in _LINK.findall(README.read_text())}
    assert {str(page.relative_to(REPOSITORY)) for page in PAGES} - {"README.md"} <= links


def test_every_block_names_its_language() -> None:
    languages = {"sh", "python", "console", "json", "toml", "yaml", "mermaid", "cpp"}
    assert [block.id for block in BLOCKS if block.language not in languages] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_stands_in_an_indented_block(page: Path) -> None:
    outside = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^ {4}(?:doit|python|pytest|pip) .*$", outside, re.MULTILINE) == []


def test_ci_runs_the_blocks_that_are_marked_for_it_and_finds_them_by_name() -> None:
    script = (REPOSITORY / ".ci/run").read_text()
    marked = {block.ci: block for block in BLOCKS if block.ci}
    assert set(re.findall(r'\$\(block "(.+?)"\)', script)) == set(marked) == {"install and build", "test"}
    assert marked["install and build"].text.endswith(".venv/bin/doit\n")
    assert marked["test"].text == ".venv/bin/pytest\n"
    function = re.search(r"^block\(\) \{.*?^\}", script, re.MULTILINE | re.DOTALL)
    assert function
    for name, block in marked.items():
        call = f'{function[0]}\nblock "{name}"'
        assert subprocess.check_output(["bash", "-c", call], cwd=REPOSITORY, text=True) == block.text


def test_the_reference_is_up_to_date() -> None:
    """If not: python -m tests.docs.reference."""
    assert reference.PAGE.read_text() == reference.written()


def test_the_dodo_file_is_the_one_that_is_shown() -> None:
    dodo = re.sub(r'""".*?"""\n\n', "", (REPOSITORY / "dodo.py").read_text())
    assert dodo in [block.text for block in BLOCKS if block.file == "dodo.py"]


def test_every_command_of_qatbuild_has_an_example() -> None:
    points = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]["doit.COMMAND"]
    own = {name for name, place in points.items() if ".inherited:" not in place} - {"run"}
    examples = "".join(block.text for block in BLOCKS if block.page in {"commands.md", "trust.md"} and block.is_run)
    assert [name for name in own if f"doit {name}" not in examples] == []


def test_every_route_has_a_row_and_a_reference() -> None:
    routes = [path.stem for path in (REPOSITORY / "qatbuild/worker/deploy").glob("*.py")]
    rows = re.findall(r"^\| `(\w+)` \| `", (DOCS / "deploy.md").read_text(), re.MULTILINE)
    assert set(rows) <= set(routes)
    assert [route for route in rows if f"### `deploy.{route}`" not in (DOCS / "spec.md").read_text()] == []


BROWSER = f"""#!{sys.executable}
import pathlib, sys
options = dict(option.lstrip("-").split("=", 1) for option in sys.argv[1:] if "=" in option)
assert options["window-size"] == "300,200" and sys.argv[-1].startswith("file:///")
pathlib.Path(options["screenshot"]).write_bytes(b"picture")
"""


def test_a_screenshot_is_made_by_the_browser_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = tmp_path / "chromium"
    browser.write_text(BROWSER)
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    picture = tmp_path / "report.png"
    screenshot.main(["page.html", "--out", str(picture), "--width", "300", "--height", "200"])
    assert picture.read_bytes() == b"picture"


def test_without_a_browser_the_screenshot_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(SystemExit, match="hint: apt-get install chromium"):
        screenshot.main(["page.html", "--out", str(tmp_path / "report.png")])


def test_the_picture_of_the_report_page_is_a_small_png() -> None:
    picture = screenshot.PICTURE.read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 300_000
