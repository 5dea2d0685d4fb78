"""Run a frozen graph on images."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_BATCH = 100


def run(definition: Any, given: str, wanted: str, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values of the op `wanted` [n, ...] for real images [n, height, width, channels] fed to the op `given`."""
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph, config=config) as session:
            return np.concatenate(
                [
                    session.run(f"{wanted}:0", {f"{given}:0": images[start : start + _BATCH]})
                    for start in range(0, len(images), _BATCH)
                ]
            )
