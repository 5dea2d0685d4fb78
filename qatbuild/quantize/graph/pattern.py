"""Patterns of subgraphs, matched by structure and never by operation names.

A pattern states the types of an operation and the patterns of its inputs. Patterns are values, built from the inputs
to the root. A match maps the roles named in the pattern to operations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Anything:
    """Matches every operation, with any inputs."""


@dataclass(frozen=True)
class Op:
    """An operation of one of `types` whose data inputs match `inputs`.

    With `inputs` None they may be anything. With `ordered` false the inputs may be in any order; the written order is
    tried first. The match records the operation under `role`.
    """

    types: frozenset[str]
    inputs: tuple[Pattern, ...] | None = None
    role: str | None = None
    ordered: bool = True


@dataclass(frozen=True)
class Either:
    """The alternatives of one operation, tried in order; the match records the operation under `role`."""

    alternatives: tuple[Pattern, ...]
    role: str | None = None


Pattern = Anything | Op | Either
Roles = Mapping[str, tf.Operation]

ANYTHING = Anything()


def op(types: str, *inputs: Pattern, role: str | None = None, ordered: bool = True) -> Op:
    """Returns the pattern of an operation of one of the types, `op("Add|AddV2", a, b)`; without inputs any match."""
    return Op(frozenset(types.split("|")), inputs or None, role, ordered)


def either(*alternatives: Pattern) -> Either:
    """Returns a pattern that matches the first of the alternatives that fits."""
    return Either(alternatives)


def role(name: str, *alternatives: Pattern) -> Either:
    """Returns a pattern like `either`, whose match records the operation under `name`."""
    return Either(alternatives, name)


def match(pattern: Pattern, root: tf.Operation) -> Roles | None:
    """Returns the roles of the first match of `pattern` whose outermost operation is `root`, or None."""
    return next(matches(pattern, root), None)


def matches(pattern: Pattern, root: tf.Operation) -> Iterator[Roles]:
    """Returns the roles of all matches of `pattern` whose outermost operation is `root`, in the written order."""
    if isinstance(pattern, Anything):
        yield {}
    elif isinstance(pattern, Either):
        for alternative in pattern.alternatives:
            for roles in matches(alternative, root):
                yield roles if pattern.role is None else {**roles, pattern.role: root}
    elif root.type in pattern.types:
        own_role: dict[str, tf.Operation] = {} if pattern.role is None else {pattern.role: root}
        if pattern.inputs is None:
            yield own_role
            return
        producers = [tensor.op for tensor in root.inputs]
        for order in itertools.permutations(pattern.inputs) if not pattern.ordered else [pattern.inputs]:
            if len(order) == len(producers):
                for inner in _all_match(order, producers):
                    yield {**own_role, **inner}


def _all_match(patterns: tuple[Pattern, ...], producers: list[tf.Operation]) -> Iterator[Roles]:
    if not patterns:
        yield {}
        return
    for first in matches(patterns[0], producers[0]):
        for rest in _all_match(patterns[1:], producers[1:]):
            yield {**first, **rest}
