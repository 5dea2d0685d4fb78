"""A change of the graph between network and loss, passed in by the quantize stage.

This room does not import the quantizer, so that a change of the quantizer does not make float trainings stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Rewrite:
    """Two functions of (graph, input, logits) that change a graph in place, with equal names of range variables.

    `input` and `logits` are names of operations: the float32 real values, and what the softmax reads.

    training   for the graph that learns; returns the names of the (minimum, maximum) variables by tensor
    inference  for the graph that is deployed
    counters   names of variables that `training` adds outside the tensors' scopes
    """

    training: Callable[[tf.Graph, str, str], Mapping[str, tuple[str, str]]]
    inference: Callable[[tf.Graph, str, str], object]
    counters: frozenset[str] = frozenset()
