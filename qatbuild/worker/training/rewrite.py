"""A change of the graph between network and loss, passed in by the quantize stage.

This room does not import the quantizer, so that a change of the quantizer does not make float trainings stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

Ends = Mapping[str, str]


@dataclass(frozen=True)
class Rewrite:
    """Two functions of (graph, inputs, tensors) that change a graph in place, with equal names of range variables.

    `inputs` and `tensors` map inputs, and the network's tensors, to names of the graph: of the float32 real values, and
    of what the results (a softmax) read.

    training   for the graph that learns; returns the names of the (minimum, maximum) variables by tensor
    inference  for the graph that is deployed
    counters   names of variables that `training` adds outside the tensors' scopes
    """

    training: Callable[[tf.Graph, Ends, Ends], Mapping[str, tuple[str, str]]]
    inference: Callable[[tf.Graph, Ends, Ends], object]
    counters: frozenset[str] = frozenset()
