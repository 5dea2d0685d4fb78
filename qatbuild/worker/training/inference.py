"""The network as it will be deployed: no dropout, no augmentation, no optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from qatbuild.worker import models

v1 = tf.compat.v1

INPUT = "input"


@dataclass(frozen=True)
class Network:
    """A network and the images it takes: real = (byte - mean) / std_dev, shape [height, width, channels]."""

    model: Mapping[str, Any]
    shape: tuple[int, int, int]
    classes: int
    mean: float
    std_dev: float

    @property
    def title(self) -> str:
        """How people are told which network."""
        return models.title(self.model)


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


def inference(network: Network, rewrite: Callable[[tf.Graph, str, str], object] | None = None) -> Inference:
    """The network's inference graph: in float, or as `rewrite` leaves it."""
    graph = tf.Graph()
    with graph.as_default():
        # Initial values are never used here, but where kernels must be deterministic TensorFlow wants a seed for them.
        v1.set_random_seed(1)
        images = v1.placeholder(tf.float32, [None, *network.shape], name=INPUT)
        logits = models.build(images, network.classes, training=False, model=network.model)
        output = models.predict(logits)
        if rewrite is not None:
            rewrite(graph, INPUT, logits.op.name)
    return Inference(graph, INPUT, logits.op.name, output.op.name)
