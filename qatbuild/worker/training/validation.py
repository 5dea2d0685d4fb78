"""Top-1 of published checkpoints in the inference graph, so that the files themselves are measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from qatbuild.worker.graph_outputs import outputs, real_batches
from qatbuild.worker.training.batches import Images, Labels
from qatbuild.worker.training.inference import Classifier, Inference, inference
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.session import session

v1 = tf.compat.v1

_BATCH = 500


@dataclass
class Validation:
    """Measures checkpoints on images uint8 [n, height, width, channels] and labels int32 [n]."""

    target: Classifier
    images: Images
    labels: Labels
    rewrite: Rewrite | None
    threads: int
    _open: tuple[Inference, tf.compat.v1.Session, tf.compat.v1.train.Saver] | None = field(default=None, repr=False)

    def top1(self, prefix: Path) -> float:
        """Return the share of the images, in percent, whose highest probability is that of their label."""
        if self._open is None:
            built = inference(self.target, self.rewrite.inference if self.rewrite else None)
            with built.graph.as_default():
                self._open = built, session(built.graph, self.threads), v1.train.Saver(allow_empty=True)
        built, opened, saver = self._open
        with built.graph.as_default():  # Outside of a graph, a Saver assumes eager mode.
            saver.restore(opened, str(prefix))
        batches = real_batches(self.images, self.target.scaling, _BATCH)
        probabilities = outputs(opened, built.input, built.output, batches)
        return 100.0 * int((probabilities.argmax(axis=1) == self.labels).sum()) / len(self.images)

    def close(self) -> None:
        """Close the session; the next measurement opens another."""
        if self._open is not None:
            self._open[1].close()
            self._open = None
