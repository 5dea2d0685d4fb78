"""Runs a network's frozen graphs on a route's samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.worker import graph_outputs
from qatbuild.worker.deploy import Subject
from qatbuild.worker.training.session import session

_BATCH = 100


def run(definition: tf.compat.v1.GraphDef, subject: Subject) -> dict[str, NDArray[Any]]:
    """Returns the results [n, ...] of a GraphDef of the subject's network on its samples, by the network's tensors."""
    assert subject.graphs is not None
    reals = {f"{subject.graphs.inputs[name]}:0": values for name, values in subject.reals.items()}
    parts: list[dict[str, NDArray[np.float32]]] = []
    with session(graph_outputs.imported(definition), threads=1) as opened:
        for start in range(0, subject.samples.number, _BATCH):
            feed = {tensor: values[start : start + _BATCH] for tensor, values in reals.items()}
            parts.append(graph_outputs.run(opened, subject.graphs.outputs, feed))
    return {name: np.concatenate([part[name] for part in parts]) for name in subject.graphs.outputs}
