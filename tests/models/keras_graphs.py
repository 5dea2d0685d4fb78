"""A Keras model, of a file or of a function of kerasnets, in a TF 1 graph of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.worker.tasks import ends
from qatbuild.worker.training.session import deterministic
from tests.models import kerasnets
from tests.models.classifier import classifier

v1 = tf.compat.v1


class Built:
    """A network in a graph of its own."""

    def __init__(
        self, model: dict[str, Any], shape: tuple[int, int, int] = (8, 8, 3), *, training: bool = False, seed: int = 1
    ) -> None:
        deterministic()
        self.graph = tf.Graph()
        with self.graph.as_default():
            v1.set_random_seed(seed)
            self.step = v1.train.get_or_create_global_step()
            self.images = v1.placeholder(tf.float32, [None, *shape], name="input")
            self.logits = classifier(self.images, networks.read(model), training=training)
            self.probabilities = ends.softmax(self.logits)
            self.variables = {each.op.name: each for each in v1.global_variables() if each.op.name != "global_step"}
            self.trainable = [each.op.name for each in v1.trainable_variables()]
            self.session = v1.Session()

    def start(self, values: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        with self.graph.as_default():
            feed = {self.variables[name].initial_value: value for name, value in (values or {}).items()}
        self.session.run([each.initializer for each in (self.step, *self.variables.values())], feed)
        return self.session.run(self.variables)


def call(function: str, **options: Any) -> dict[str, Any]:
    return {"call": f"{kerasnets.__name__}:{function}", "options": options}


def in_file(model: keras.Model, path: Path) -> dict[str, Any]:
    random = np.random.default_rng(3)
    for variable in model.variables:
        if "moving" in variable.name or "gamma" in variable.name or "beta" in variable.name:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    model.save(path)
    return {"keras": str(path)}


def eagerly(function: str, shape: tuple[int, int, int] = (8, 8, 3)) -> keras.Model:
    return getattr(kerasnets, function)(np.zeros([1, *shape]), 10, training=False)
