"""A small matcher: whether an operation is the root of a subgraph of some shape.

A pattern says the types an operation may have and, in turn, what its inputs must be. Patterns are values, built from
the inside out, and match by structure: no name of an operation is ever looked at. A match is a mapping of the roles
that the pattern named to the operations that were found there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
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
    """The first of several alternatives that matches; `role` records which operation that was."""

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
    """The roles of `pattern` with `root` as its outermost operation, or None."""
    if isinstance(pattern, Anything):
        return {}
    if isinstance(pattern, Either):
        for alternative in pattern.alternatives:
            found = match(alternative, root)
            if found is not None:
                return found if pattern.role is None else {**found, pattern.role: root}
        return None
    if root.type not in pattern.types:
        return None
    roles: dict[str, tf.Operation] = {} if pattern.role is None else {pattern.role: root}
    if pattern.inputs is None:
        return roles
    for order in itertools.permutations(pattern.inputs) if not pattern.ordered else [pattern.inputs]:
        inner = _match_inputs(order, root)
        if inner is not None:
            return {**roles, **inner}
    return None


def _match_inputs(patterns: tuple[Pattern, ...], root: tf.Operation) -> Roles | None:
    producers = [tensor.op for tensor in root.inputs]
    if len(producers) != len(patterns):
        return None
    roles: dict[str, tf.Operation] = {}
    for pattern, producer in zip(patterns, producers, strict=True):
        found = match(pattern, producer)
        if found is None:
            return None
        roles.update(found)
    return roles
