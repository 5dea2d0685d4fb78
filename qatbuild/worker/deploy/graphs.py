"""Frozen graphs as the routes need them: read, run, and what their ops are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

_BATCH = 100


def read(path: Path) -> Any:
    """The GraphDef in a file."""
    return tf.compat.v1.GraphDef.FromString(path.read_bytes())


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


def constant(node: Any) -> NDArray[Any]:
    """The value of a Const node."""
    return np.asarray(tf.make_ndarray(node.attr["value"].tensor))


def set_constant(node: Any, value: NDArray[Any]) -> None:
    """Give a Const node another value."""
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))


def source(name: str) -> str:
    """The op that an input string of a node names: '^a' and 'a:1' are both of a."""
    return name.removeprefix("^").partition(":")[0]


def constant_ops(definition: Any) -> set[str]:
    """Names of the ops whose values follow from constants alone."""
    nodes = {node.name: node for node in definition.node}
    known: dict[str, bool] = {}

    def follows(name: str) -> bool:
        if name not in known:
            node = nodes[name]
            known[name] = False  # for a loop, which no frozen network here has
            known[name] = node.op == "Const" or (bool(node.input) and all(follows(source(each)) for each in node.input))
        return known[name]

    return {name for name in nodes if follows(name)}
