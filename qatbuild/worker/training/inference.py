"""The network for inference: no dropout, no augmentation, no optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.exchange.networks import Network
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker import models
from qatbuild.worker.models import scaling_layers

v1 = tf.compat.v1

INPUT = "input"


@dataclass(frozen=True)
class Classifier:
    """A network for images of a shape [height, width, channels], their scaling, and the number of classes."""

    network: Network
    shape: tuple[int, int, int]
    classes: int
    scaling: Scaling


@dataclass(frozen=True)
class Inference:
    """A graph from real images to probabilities; `input`, `logits` and `output` are names of operations.

    input   float32 [batch, height, width, channels], (byte - mean) / std_dev
    logits  float32 [batch, classes], before any fake quantization of them
    output  float32 [batch, classes], softmax
    """

    graph: tf.Graph
    input: str
    logits: str
    output: str


def inference(target: Classifier, rewrite: Callable[[tf.Graph, str, str], object] | None = None) -> Inference:
    """Build the inference graph of a network, in float or changed in place by `rewrite` (graph, input, logits)."""
    graph = tf.Graph()
    with graph.as_default():
        # Initial values are never used here, but TensorFlow needs a seed for them if kernels must be deterministic.
        v1.set_random_seed(1)
        images = v1.placeholder(tf.float32, [None, *target.shape], name=INPUT)
        logits = models.build(images, target.classes, target.network, training=False)
        scaling_layers.check(images, target.scaling)
        output = models.predict(logits)
        if rewrite is not None:
            rewrite(graph, INPUT, logits.op.name)
    return Inference(graph, INPUT, logits.op.name, output.op.name)
