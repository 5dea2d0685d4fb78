"""The network of a spec that names no outputs: one input of images, ten classes."""

from __future__ import annotations

import tensorflow as tf

from qatbuild.exchange.networks import Network
from qatbuild.worker import models


def classifier(images: tf.Tensor, network: Network, *, training: bool) -> tf.Tensor:
    """Adds the network to the graph of images; returns its logits, float32 [batch, 10]."""
    ends = {"labels": "softmax"}
    return models.build({"images": images}, {"labels": 10}, network, training=training, ends=ends)["labels"]
