"""What is done to a graph between network and loss, handed in by whoever knows how.

Training does not know how networks are quantized: so a change of the quantizer does not make the float training stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Rewrite:
    """Two functions that change a graph in place; both name the range variables alike.

    training   for the graph that learns; returns the names of the (minimum, maximum) variables by tensor
    inference  for the graph that is deployed
    """

    training: Callable[[tf.Graph], Mapping[str, tuple[str, str]]]
    inference: Callable[[tf.Graph], object]
