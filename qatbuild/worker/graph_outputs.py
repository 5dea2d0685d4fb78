"""Run a graph on images, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.training.session import session


def real_batches(
    images: NDArray[np.uint8], scaling: Scaling, size: int, done: Callable[[int], object] = lambda _: None
) -> Iterator[NDArray[np.float32]]:
    """Yield real values float32 of images uint8 [n, ...], at most `size` a batch.

    `done` is called with the number of images of each batch that was used.
    """
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        yield scaling.real(batch.astype(np.float32))
        done(len(batch))


def outputs(
    opened: tf.compat.v1.Session, graph_input: str, graph_output: str, batches: Iterable[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the values [n, ...] of the operation `graph_output`, feeding batches to the operation `graph_input`."""
    parts = [opened.run(f"{graph_output}:0", {f"{graph_input}:0": batch}) for batch in batches]
    return np.concatenate(parts)


def run(
    definition: tf.compat.v1.GraphDef,
    graph_input: str,
    graph_output: str,
    batches: Iterable[NDArray[np.float32]],
    threads: int,
) -> NDArray[np.float32]:
    """Return the outputs of a frozen GraphDef, in a session with `threads` threads."""
    with tf.Graph().as_default() as graph, session(graph, threads) as opened:
        tf.import_graph_def(definition, name="")
        return outputs(opened, graph_input, graph_output, batches)
