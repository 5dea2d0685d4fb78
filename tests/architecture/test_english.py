"""Code, tests and documentation are in plain English: without the words and names that this file excludes."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PYTHON = sorted(path for folder in ("qatbuild", "tests") for path in (REPOSITORY / folder).rglob("*.py"))
TEXTS = [
    *(path for path in PYTHON if path != Path(__file__)),
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / ".github").rglob("*.md")),
    *sorted((REPOSITORY / "qatbuild").rglob("*.md")),
    *sorted((REPOSITORY / "qatbuild").rglob("*.schema.json")),
]
COMMAND = r"(?<!doit )(?<![`\"/.])cures?(?![`/])"
"""A command has the name of an excluded word; texts may mention it, and its folder."""

WORDS = re.compile(
    rf"\b(whoever|nobody|told|{COMMAND}|what there is|that there (?:is|are)|of now|(?:is|are) none)\b",
    re.IGNORECASE,
)
NAMES = {"found", "given", "known"}

IMPERATIVE = re.compile(
    "(Add|Build|Compare|Give|Insert|Load|Make|Open|Raise|Read|Remove|Replace|Return|Run|Take|Write|Yield) "
)
"""The verbs with which most docstrings begin, as they must not: they say what a function does ("Returns ...")."""


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of every comment and string of a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type in {tokenize.COMMENT, tokenize.STRING} or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            yield token.start[0], " ".join(token.string.split())


def bound_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of every variable that is assigned, every parameter and every function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef):
            yield node.lineno, node.name


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_text_is_free_of_the_excluded_words(path: Path) -> None:
    rows = prose(path) if path.suffix == ".py" else enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    assert [f"line {line}: {text}" for line, text in rows if WORDS.search(text)] == []


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_variables_are_named_after_what_they_hold(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [f"line {line}: {name}" for line, name in bound_names(tree) if name in NAMES] == []


@pytest.mark.parametrize(
    "path",
    [path for path in PYTHON if path.is_relative_to(REPOSITORY / "qatbuild")],
    ids=lambda path: path.relative_to(REPOSITORY).as_posix(),
)
def test_docstrings_say_what_a_function_does(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [node.name for node in functions if IMPERATIVE.match(ast.get_docstring(node) or "")] == []
