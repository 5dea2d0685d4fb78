"""The TF1 optimizers by name, and the decay of weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.exchange.errors import StageError

v1 = tf.compat.v1


@dataclass(frozen=True)
class Optimizer:
    """`sgd`, `momentum` (with `nesterov` in Nesterov's form) or `adam`; constants as in TensorFlow."""

    name: str = "momentum"
    momentum: float = 0.9
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def build(self, learning_rate: tf.Tensor) -> tf.compat.v1.train.Optimizer:
        """Makes an optimizer; `learning_rate` is a float32 scalar, fed at each step."""
        if self.name == "sgd":
            return v1.train.GradientDescentOptimizer(learning_rate)
        if self.name == "momentum":
            return v1.train.MomentumOptimizer(learning_rate, self.momentum, use_nesterov=self.nesterov)
        if self.name == "adam":
            return v1.train.AdamOptimizer(learning_rate, self.beta1, self.beta2, self.epsilon)
        facts = [("optimizer", self.name), ("there are", "sgd, momentum, adam")]
        raise StageError("The optimizer does not exist.", facts)


def with_decay(loss: tf.Tensor, kernels: Iterable[tf.Variable], weight_decay: float) -> tf.Tensor:
    """Returns loss + weight_decay * sum of |w|^2 / 2 over the kernels: float32 scalar.

    Biases and ranges do not decay. The decay is of the float weights, even if the network reads fake-quantized ones.
    """
    squares = [tf.nn.l2_loss(kernel) for kernel in kernels]
    if weight_decay and squares:
        loss += weight_decay * tf.add_n(squares, name="weight_decay")
    return loss
