"""Top-1 of a published checkpoint, in the graph that will be deployed: so it is the file that is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from qatbuild.worker.training.batches import Images, Labels
from qatbuild.worker.training.inference import Inference, Network, inference
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.session import session

v1 = tf.compat.v1

_BATCH = 500


@dataclass
class Validation:
    """Images uint8 [n, height, width, channels] and labels int32 [n], to measure checkpoints with."""

    network: Network
    images: Images
    labels: Labels
    rewrite: Rewrite | None
    _open: tuple[Inference, tf.compat.v1.Session, tf.compat.v1.train.Saver] | None = field(default=None, repr=False)

    def top1(self, prefix: Path) -> float:
        """Share of the images, in percent, whose highest probability is that of their label."""
        if self._open is None:
            target = inference(self.network, self.rewrite.inference if self.rewrite else None)
            with target.graph.as_default():
                self._open = target, session(target.graph), v1.train.Saver()
        target, opened, saver = self._open
        with target.graph.as_default():  # Outside of a graph a Saver takes it that TensorFlow is eager.
            saver.restore(opened, str(prefix))
        right = 0
        for start in range(0, len(self.images), _BATCH):
            part = slice(start, start + _BATCH)
            real = (self.images[part].astype("float32") - self.network.mean) / self.network.std_dev
            probabilities = opened.run(f"{target.output}:0", {f"{target.input}:0": real})
            right += int((probabilities.argmax(axis=1) == self.labels[part]).sum())
        return 100.0 * right / len(self.images)

    def close(self) -> None:
        """Free the session; the next measurement opens another."""
        if self._open is not None:
            self._open[1].close()
            self._open = None
