"""The layers of a graph as their author wrote them, so that a refusal names them by the author's name and class.

What builds a graph of layers notes them in a collection; graphs without notes are named by their name scopes alone.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

_COLLECTION = "qatbuild/authored_layers"


class AuthoredLayer(NamedTuple):
    """One layer: the name scope of its operations, the author's name and class for it.

    `why`: why none of its operations are looked at, for a layer that has no integer form whatever they are; `hint`:
    what to write instead.
    """

    scope: str
    name: str
    kind: str
    why: str = ""
    hint: str = ""


def note(graph: tf.Graph, layer: AuthoredLayer) -> None:
    """Notes a layer of a graph."""
    graph.add_to_collection(_COLLECTION, layer)


def noted(graph: tf.Graph) -> tuple[AuthoredLayer, ...]:
    """Returns the noted layers of a graph."""
    return tuple(graph.get_collection(_COLLECTION))


def layer_of(operation: tf.Operation) -> AuthoredLayer | None:
    """Returns the noted layer with the innermost name scope around an operation; None without one."""
    around = [each for each in noted(operation.graph) if f"{operation.name}/".startswith(f"{each.scope}/")]
    return max(around, key=lambda each: len(each.scope), default=None)
