"""The hints of qatbuild's code and schema, and those that tests follow, read from the sources."""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "qatbuild"
SCHEMA = PACKAGE / "schema/spec.schema.json"

_THIRD = 2
_LEAST_LETTERS = 8
"""A shorter text is a part of a hint: a separator, a name."""


@functools.cache
def written() -> dict[str, str]:
    """Return every hint -> where it is written. What is computed within a hint, such as a number, is '{}'.

    A hint is: the third argument of an error, or its `hint`; the text of a schema's Fault; whatever is assigned to a
    name with "hint" in it; the hint of a Without; an x-hint of the schema.
    """
    hints: dict[str, str] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        where = file.relative_to(REPOSITORY).as_posix()
        for text, line in _Module(ast.parse(file.read_text())).hints():
            if len(text) >= _LEAST_LETTERS:
                hints.setdefault(text, f"{where}:{line}")
    for text in _of_schema(json.loads(SCHEMA.read_text())):
        hints.setdefault(text, SCHEMA.relative_to(REPOSITORY).as_posix())
    return hints


@functools.cache
def followed() -> dict[str, str]:
    """Return every text of a call follows("...") in the tests -> the test file."""
    calls: dict[str, str] = {}
    for file in sorted((REPOSITORY / "tests").rglob("*.py")):
        source = file.read_text()
        if "follows(" in source:
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Call) and _name(node.func) == "follows":
                    calls[ast.literal_eval(node.args[0])] = file.relative_to(REPOSITORY).as_posix()
    return calls


class _Module:
    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._constants = dict(_assigned(tree.body))
        self._locals: dict[str, list[ast.expr]] = {}

    def hints(self) -> Iterator[tuple[str, int]]:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.FunctionDef):
                yield from self._of_function(node)
        self._locals = {}
        for value in self._constants.values():
            for node in ast.walk(value):
                if isinstance(node, ast.Call):
                    yield from self._of_call(node)
        for name, value in self._constants.items():
            if "hint" in name.lower():
                yield from self._texts(value)

    def _of_function(self, function: ast.FunctionDef) -> Iterator[tuple[str, int]]:
        """Yield what is assigned to `hint`, or is returned by a function of hints."""
        returned = "hint" in function.name
        self._locals = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                for name, value in _assigned([node]):
                    self._locals.setdefault(name, []).append(value)
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                yield from self._of_call(node)
            elif isinstance(node, ast.Return) and returned and node.value is not None:
                yield from self._texts(node.value)
            elif isinstance(node, ast.Assign | ast.AugAssign) and node.value is not None:
                yield from self._of_assignment(node)

    def _of_assignment(self, node: ast.Assign | ast.AugAssign) -> Iterator[tuple[str, int]]:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value] * len(names)
            for name, value in zip(names, values, strict=False):
                if "hint" in _name(name).lower():
                    yield from self._texts(value)

    def _of_call(self, call: ast.Call) -> Iterator[tuple[str, int]]:
        name = _name(call.func)
        place = {"Without": 1, "Fault": 1}.get(name, _THIRD if name.endswith("Error") or name == "called" else None)
        if place is None:
            return
        arguments = [*call.args[place : place + 1], *(each.value for each in call.keywords if each.arg == "hint")]
        for each in arguments:
            yield from self._texts(each)

    def _texts(self, node: ast.expr) -> Iterator[tuple[str, int]]:
        """Yield the texts that an expression may be."""
        match node:
            case ast.Name():
                for value in self._locals.get(node.id) or filter(None, [self._constants.get(node.id)]):
                    if not any(isinstance(each, ast.Name) and each.id == node.id for each in ast.walk(value)):
                        yield from self._texts(value)
            case ast.Dict():
                for value in node.values:
                    yield from self._texts(value.args[-1] if isinstance(value, ast.Call) else value)
            case ast.IfExp():
                yield from self._texts(node.body)
                yield from self._texts(node.orelse)
            case ast.BoolOp():
                for value in node.values:
                    yield from self._texts(value)
            case _:
                yield self._text(node), node.lineno

    def _text(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.JoinedStr():
                return "".join(map(self._text, node.values))
            case ast.FormattedValue(value=ast.Name(id=name)) if name in self._constants:
                return self._text(self._constants[name])
            case ast.Name(id=name) if name in self._constants:
                return self._text(self._constants[name])
            case ast.BinOp(op=ast.Add()):
                return self._text(node.left) + self._text(node.right)
            case _:
                return "{}"


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield _name(target), node.value


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _of_schema(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _of_schema(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "x-hint":
                yield each
            yield from _of_schema(each)
