"""The lines of two Python texts that differ in meaning."""

from __future__ import annotations

import pytest

from qatbuild.engine.why.lines import changed_lines

FORMER = """import os


def build(x):
    if x:
        y = f(1, 2)
    else:
        y = g(
            x,
            depth=3,
        )
    return y
"""


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (("f(1, 2)", "f(1, 9)"), ["-6:        y = f(1, 2)", "+6:        y = f(1, 9)"]),
        (("depth=3", "depth=4"), ["-10:            depth=3,", "+10:            depth=4,"]),
        (("    return y", "    y += 1\n    return y"), ["+12:    y += 1"]),
        (("    return y", "        y += 1\n    return y"), ["+12:        y += 1"]),
        (("import os\n", ""), ["-1:import os"]),
        (("if x:", "if not x:"), ["-5:    if x:", "+5:    if not x:"]),
        (("f(1, 2)", "f(1,2)  # why"), []),
        (("def build(x):\n", 'def build(x):\n    """Builds."""\n'), []),
    ],
)
def test_lines_are_those_that_differ_in_meaning(edit: tuple[str, str], named: list[str]) -> None:
    lines = changed_lines(FORMER, f"# A comment.\n\n{FORMER.replace(*edit)}".removeprefix("# A comment.\n\n"))
    assert [f"{line.sign}{line.number}:{line.text}" for line in lines] == named
