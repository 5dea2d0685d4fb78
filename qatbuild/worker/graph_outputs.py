"""Runs a graph on a batch of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


def run(
    opened: tf.compat.v1.Session, outputs: Mapping[str, str], feed: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    """Returns the values [n, ...] of the operations `outputs`, by the same names, with tensors fed by name."""
    tensors = {name: end if ":" in end else f"{end}:0" for name, end in outputs.items()}
    values: dict[str, NDArray[np.float32]] = opened.run(tensors, dict(feed))
    return values


def imported(definition: tf.compat.v1.GraphDef) -> tf.Graph:
    """Returns a frozen GraphDef as a graph."""
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
    return graph


def largest_bytes(graph: tf.Graph) -> int:
    """Returns the bytes that an example takes in the largest tensor of a graph whose first dimension is the batch.

    While a graph runs, a few such tensors are in memory; those of unknown shape count as nothing.
    """
    sizes = [0]
    for operation in graph.get_operations():
        for tensor in operation.outputs:
            shape = tensor.shape
            if shape.rank and shape[0] is None and (values := shape[1:].num_elements()) is not None:
                sizes.append(values * max(1, tensor.dtype.size))
    return max(sizes)
