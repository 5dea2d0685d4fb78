"""Tables, cells and code in Markdown, as GitHub and GitLab read it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain

from qatbuild.exchange.errors import printable

LONGEST_COMMENT = 60_000
"""Characters: GitHub refuses a comment of more than 65,536."""

MOST_ROWS = 100
"""Rows of a table in a comment."""

_ROOM_AT_END = 1_000
_BACKTICKS = re.compile("`+")
_TILDES = re.compile("~+")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Returns a table of rows of cells; the columns `numbers` are aligned right."""
    right = set(numbers)
    rule = ["--:" if column in right else "---" for column in range(len(heads))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in chain([list(map(cell, heads)), rule], rows))


def cell(text: str) -> str:
    """Returns a text for a cell: no character of it is Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", printable(text))


def code(text: str) -> str:
    """Returns a text as code in a cell; '' for ''."""
    text = printable(text).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, _BACKTICKS.findall(text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}" if text else ""


def fenced(text: str) -> str:
    """Returns a text as a block of code."""
    fence = "~" * max(3, 1 + max(map(len, _TILDES.findall(text)), default=0))
    return f"{fence}text\n{text.rstrip()}\n{fence}"


def folded(label: str, blocks: Iterable[str]) -> str:
    """Returns blocks below a label that unfolds them; '' without any."""
    text = "\n\n".join(blocks)
    return f"<details><summary><code>{printable(label)}</code></summary>\n\n{text}\n\n</details>" if text else ""


def more(count: int, what: str, command: str) -> list[str]:
    """Returns a block that counts what is left out, and names the command that has all; none if nothing is."""
    return [f"and {count} more {what}: `{command}` has all of them"] if count > 0 else []


def fitting(blocks: Sequence[str], parts: Iterable[str]) -> tuple[list[str], int]:
    """Returns the blocks with the first parts that fit into a comment, and the number of the other parts."""
    room = LONGEST_COMMENT - sum(map(len, blocks)) - _ROOM_AT_END
    taken, left_out = list(blocks), 0
    for part in filter(None, parts):
        room -= len(part)
        if room > 0:
            taken.append(part)
        left_out += room <= 0
    return taken, left_out
