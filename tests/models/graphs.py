"""Networks with named ends in a graph of their own, and what they compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.worker import models
from qatbuild.worker.tasks import ends

v1 = tf.compat.v1
Arrays = Mapping[str, np.ndarray]


class Built:
    """A network, what its tasks read (`results`), and its variables."""

    def __init__(
        self,
        model: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
        sizes: Mapping[str, int | None],
        activations: Mapping[str, str] | None = None,
        *,
        training: bool = False,
    ) -> None:
        self.network, self.shapes = networks.read(model), shapes
        self.graph = tf.Graph()
        with self.graph.as_default():
            v1.set_random_seed(1)
            v1.train.get_or_create_global_step()
            names = ["input"] if len(shapes) == 1 else shapes
            self.inputs = {
                key: v1.placeholder(tf.float32, [None, *shape], name=name)
                for name, (key, shape) in zip(names, shapes.items(), strict=True)
            }
            self.tensors = models.build(self.inputs, sizes, self.network, training=training, ends=activations)
            kinds = dict.fromkeys(sizes, "") | dict(activations or {})
            self.results = {name: result(tensor, kinds[name], name) for name, tensor in self.tensors.items()}
            self.variables = {each.op.name: each for each in v1.global_variables() if each.op.name != "global_step"}
            self.trainable = {each.op.name for each in v1.trainable_variables()}

    @property
    def kinds(self) -> set[str]:
        """Returns the types of the graph's operations."""
        return {each.type for each in self.graph.get_operations()}

    def run(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """Returns the results with the values that the network's file holds, which are those of all variables."""
        values = models.initial(self.shapes, self.network)
        if values is not None:
            assert set(values) == set(self.variables)
        with self.graph.as_default(), v1.Session() as session:
            feed = {self.variables[name].initial_value: value for name, value in (values or {}).items()}
            session.run([each.initializer for each in v1.global_variables()], feed)
            return session.run(self.results, {self.inputs[name]: array for name, array in arrays.items()})


def result(tensor: tf.Tensor, kind: str, name: str) -> tf.Tensor:
    """Returns what a task makes of a network's tensor: the softmax or sigmoid of logits, or the tensor itself."""
    return {"softmax": ends.softmax, "sigmoid": ends.sigmoid}[kind](tensor) if kind else ends.identity(tensor, name)


def drawn(shapes: Mapping[str, tuple[int, ...]], scale: float = 1.0) -> dict[str, np.ndarray]:
    """Returns arrays of four examples each, the same for the same shapes."""
    random = np.random.default_rng(5)
    return {name: (scale * random.random([4, *shape])).astype(np.float32) for name, shape in shapes.items()}
