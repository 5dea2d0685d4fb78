"""Lines that differ in meaning between two texts of a module: not comments, docstrings or formatting."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from qatbuild.engine.code_digest import DOCUMENTED, without_docstring

_BLOCKS = (ast.stmt, ast.excepthandler, ast.match_case)


class Line(NamedTuple):
    """A line of the former ("-") or the present ("+") text, with its number from 1."""

    sign: str
    number: int
    text: str


class _Part(NamedTuple):
    """A statement, or the head of one with a block: its syntax tree as text, and its first and last line."""

    meaning: str
    first: int
    last: int


def changed_lines(former: str, now: str) -> list[Line]:
    """Returns the lines of the statements that differ, in order; of long statements, the lines that differ."""
    texts = former.splitlines(), now.splitlines()
    try:
        old, new = (list(_parts(ast.parse(text), 0)) for text in (former, now))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # Code that no Python runs differs by its text.
        return list(_differing(list(enumerate(texts[0], 1)), list(enumerate(texts[1], 1))))
    return [
        line
        for first, last, start, end in _differences([each.meaning for each in old], [each.meaning for each in new])
        for line in _differing(list(_lines(old[first:last], texts[0])), list(_lines(new[start:end], texts[1])))
    ]


def _parts(node: ast.AST, depth: int) -> Iterator[_Part]:
    """Yields the parts of a node's blocks. The depth is part of the meaning: a statement may leave its `if`."""
    for name, block in _blocks(node).items():
        if name != "body":
            yield _Part(f"{depth} {name}", 1, 0)
        for statement in without_docstring(block) if isinstance(node, DOCUMENTED) else block:
            inner = _blocks(statement)
            head = copy.copy(statement)
            for each in inner:
                setattr(head, each, [])
            first, last = _span(statement)
            if inner:
                last = max(first, min(_span(each[0])[0] for each in inner.values()) - 1)
            yield _Part(f"{depth} {ast.dump(head)}", first, last)
            yield from _parts(statement, depth + 1)


def _blocks(node: ast.AST) -> dict[str, list[ast.stmt]]:
    """Returns the lists of statements, handlers and cases directly in a node."""
    fields = ((name, value) for name, value in ast.iter_fields(node) if isinstance(value, list))
    return {name: value for name, value in fields if value and isinstance(value[0], _BLOCKS)}


def _span(node: ast.AST) -> tuple[int, int]:
    """Returns the first and last line of a statement, handler or case, from its decorators on."""
    placed = node.pattern if isinstance(node, ast.match_case) else node
    starts = [placed, *getattr(node, "decorator_list", ())]
    return min(each.lineno for each in starts), placed.end_lineno or placed.lineno  # type: ignore[attr-defined]


def _lines(parts: Iterable[_Part], text: Sequence[str]) -> Iterator[tuple[int, str]]:
    for part in parts:
        for number in range(part.first, part.last + 1):
            line = text[number - 1].rstrip()
            if line and not line.lstrip().startswith("#"):
                yield number, line


def _differing(old: list[tuple[int, str]], new: list[tuple[int, str]]) -> Iterator[Line]:
    """Yields the differing ones of numbered lines; all, if they differ in nothing that a line shows."""
    rows = _differences([text for _, text in old], [text for _, text in new]) or [(0, len(old), 0, len(new))]
    for first, last, start, end in rows:
        yield from (Line("-", *row) for row in old[first:last])
        yield from (Line("+", *row) for row in new[start:end])


def _differences(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, int, int]]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    return [row[1:] for row in matcher.get_opcodes() if row[0] != "equal"]
