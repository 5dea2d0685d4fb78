"""A small matcher: whether an operation is the root of a subgraph of some shape.

A pattern says the types an operation may have and, in turn, what its inputs must be. Patterns are values, built from
the inside out, and match by structure: no name of an operation is ever looked at. A match is a mapping of the roles
that the pattern named to the operations that were found there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Anything:
    """Matches every operation, whatever its inputs."""


@dataclass(frozen=True)
class Op:
    """An operation of one of `types` whose data inputs match `inputs`.

    `inputs` None leaves them free. With `ordered` false the inputs may stand in any order; the written order is
    tried first. `role` is the name under which the match records the operation.
    """

    types: frozenset[str]
    inputs: tuple[Pattern, ...] | None = None
    role: str | None = None
    ordered: bool = True


@dataclass(frozen=True)
class Either:
    """One of several alternatives, the first that fits first; `role` records which operation that was."""

    alternatives: tuple[Pattern, ...]
    role: str | None = None


Pattern = Anything | Op | Either
Roles = Mapping[str, tf.Operation]

ANYTHING = Anything()


def op(types: str, *inputs: Pattern, role: str | None = None, ordered: bool = True) -> Op:
    """`op("Add|AddV2", a, b)`: an operation of one of the types; without inputs they are free."""
    return Op(frozenset(types.split("|")), inputs or None, role, ordered)


def either(*alternatives: Pattern) -> Either:
    """The first of the alternatives that matches."""
    return Either(alternatives)


def role(name: str, *alternatives: Pattern) -> Either:
    """The first of the alternatives that matches, recorded under `name`."""
    return Either(alternatives, name)


def match(pattern: Pattern, root: tf.Operation) -> Roles | None:
    """The roles of `pattern` with `root` as its outermost operation, or None: the first of `matches`."""
    return next(matches(pattern, root), None)


def matches(pattern: Pattern, root: tf.Operation) -> Iterator[Roles]:
    """Every way in which `pattern` fits with `root` as its outermost operation, in the written order."""
    if isinstance(pattern, Anything):
        yield {}
    elif isinstance(pattern, Either):
        for alternative in pattern.alternatives:
            for found in matches(alternative, root):
                yield found if pattern.role is None else {**found, pattern.role: root}
    elif root.type in pattern.types:
        roles: dict[str, tf.Operation] = {} if pattern.role is None else {pattern.role: root}
        if pattern.inputs is None:
            yield roles
            return
        producers = [tensor.op for tensor in root.inputs]
        for order in itertools.permutations(pattern.inputs) if not pattern.ordered else [pattern.inputs]:
            if len(order) == len(producers):
                for inner in _all_match(order, producers):
                    yield {**roles, **inner}


def _all_match(patterns: tuple[Pattern, ...], producers: list[tf.Operation]) -> Iterator[Roles]:
    if not patterns:
        yield {}
        return
    for first in matches(patterns[0], producers[0]):
        for rest in _all_match(patterns[1:], producers[1:]):
            yield {**first, **rest}
