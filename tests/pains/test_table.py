"""The table of docs/pains.md and the tests agree."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import SHARED
from tests.docs.pages import DOCS

PAINS = 20
_TEST = r"\[(?P<test>\w+)\]\(\.\./\.\./tests/pains/(?P<file>\w+\.py)\)"
_ROW = re.compile(rf"^\| (?P<number>\d+) \| (?P<pain>.+) \| (?P<here>.+) \| {_TEST} \|$", re.MULTILINE)
_ISSUE = re.compile(r"\[[a-z-]+#(\d+)\]\(https://github\.com/[\w.-]+/[\w.-]+/issues/(\d+)\)")


class Row(NamedTuple):
    """A complaint: its number, the numbers of its issues, and its test as (file, function)."""

    number: int
    issues: frozenset[str]
    test: tuple[str, str]


def table() -> list[Row]:
    """The rows of the page."""
    rows = []
    for each in _ROW.finditer((DOCS / "pains.md").read_text()):
        links = _ISSUE.findall(each["pain"])
        assert all(text == target for text, target in links)
        issues = frozenset(text for text, _ in links)
        rows.append(Row(int(each["number"]), issues, (each["file"], f"test_{each['test']}")))
    return rows


def documented() -> set[tuple[str, str]]:
    """The tests of this folder, without those of this file."""
    files = [each for each in Path(__file__).parent.glob("test_*.py") if each != Path(__file__)]
    statements = [(file.name, each) for file in files for each in ast.parse(file.read_text()).body]
    functions = [(name, each.name) for name, each in statements if isinstance(each, ast.FunctionDef)]
    return {(name, function) for name, function in functions if function.startswith("test_")}


def test_every_complaint_has_a_row_with_an_issue_and_every_row_a_test() -> None:
    rows = table()
    assert [row.number for row in rows] == [*range(1, PAINS + 1)]
    assert all(row.issues for row in rows)
    assert {row.test for row in rows} == documented()
    assert len({row.test for row in rows}) == PAINS


@pytest.mark.shared("reference/pains.md")
def test_the_rows_link_the_issues_that_were_found() -> None:
    part = (SHARED / "reference/pains.md").read_text().partition("## Part 2")[0]
    pains = re.findall(r"^\*\*(\d+)\..*?^- Issues: (.*?)^- ", part, re.MULTILINE | re.DOTALL)
    listed = {int(number): {*re.findall(r"#(\d+)", text)} for number, text in pains}
    assert len(listed) == PAINS
    unlinked = {row.number: listed[row.number] - row.issues for row in table()}
    assert {number: issues for number, issues in unlinked.items() if issues} == {19: {"85"}}
