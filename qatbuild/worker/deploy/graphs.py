"""Run a network's frozen graphs on a route's sample images."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.worker import graph_outputs
from qatbuild.worker.deploy import Subject

_BATCH = 100


def run(definition: tf.compat.v1.GraphDef, subject: Subject) -> NDArray[np.float32]:
    """Return the probabilities [n, classes] of a GraphDef of the subject's network on its sample images."""
    assert subject.graphs is not None
    batches = graph_outputs.real_batches(subject.samples.images, subject.samples.scaling, _BATCH)
    return graph_outputs.run(definition, subject.graphs.input, subject.graphs.output, batches, threads=1)
