"""The metrics of published checkpoints in the inference graph, so that the files themselves are measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from qatbuild.worker import graph_outputs
from qatbuild.worker.datasets.examples import Examples
from qatbuild.worker.tasks import named
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.application import Application
from qatbuild.worker.training.failures import located
from qatbuild.worker.training.inference import Inference, inference
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.session import session

v1 = tf.compat.v1

_BATCH = 500
_TENSOR_BYTES = 1 << 26
"""Bytes of the largest tensor of a batch."""


@dataclass
class Validation:
    """Measures checkpoints on validation examples."""

    target: Application
    examples: Examples
    rewrite: Rewrite | None
    threads: int
    _open: tuple[Inference, tf.compat.v1.Session] | None = field(default=None, repr=False)

    def metrics(self, prefix: Path) -> dict[str, float]:
        """Returns the metrics of a checkpoint by name: those of the first output first."""
        built, opened = self._opened()
        with built.graph.as_default():
            checkpoint.restore(opened, v1.global_variables(), prefix)
        return self._measured(built, opened)

    def rehearse(self) -> None:
        """Measures the initial weights: a function of the user that fails does so before a training, not after it."""
        built, opened = self._opened()
        with built.graph.as_default():
            opened.run(v1.global_variables_initializer())
        self._measured(built, opened)

    def _opened(self) -> tuple[Inference, tf.compat.v1.Session]:
        if self._open is None:
            built = inference(self.target, self.rewrite.inference if self.rewrite else None)
            self._open = built, session(built.graph, self.threads)
        return self._open

    def _measured(self, built: Inference, opened: tf.compat.v1.Session) -> dict[str, float]:
        meters = {name: task.meter() for name, task in self.target.tasks.items()}
        size = max(1, min(_BATCH, _TENSOR_BYTES // max(1, graph_outputs.largest_bytes(built.graph))))
        for rows in self.examples.batches(size, self.target.columns):
            with located():
                results = graph_outputs.run(opened, built.outputs, self.target.feed(rows))
            for name, task in self.target.tasks.items():
                targets = {column: rows[column] for column in task.targets}
                meters[name].add({tensor: results[tensor] for tensor in task.sizes}, targets)
        return named({name: meter.values() for name, meter in meters.items()})

    def close(self) -> None:
        """Closes the session; the next measurement opens another."""
        if self._open is not None:
            self._open[1].close()
            self._open = None
