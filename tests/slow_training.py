"""A training that lasts until a test lets it end: what a test does to it then finds it running on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HOLD = "TEST_TRAINING_HOLD"
"""The environment variable with the path of a file: while that exists, the training is slow.

Variables that begin with QATBUILD_ do not reach a training's process.
"""

FREE_STEPS = 150
"""Steps of each process that are not slow."""

_CODE = f"""
import itertools
import os
import time

import tensorflow as tf

from qatbuild.worker.models.digitsnet import digitsnet

STEPS = itertools.count()


def late(images):
    if next(STEPS) > {FREE_STEPS} and os.path.exists(os.environ.get("{HOLD}", "")):
        time.sleep(0.1)
    return images


def net(images, classes, *, training):
    if training:
        images = tf.ensure_shape(tf.numpy_function(late, [images], tf.float32), images.shape)
    return digitsnet(images, classes, training=training)
"""


def slow_model(root: Path) -> dict[str, Any]:
    """Writes the code of a small network into a project; returns the `model` of its spec."""
    (root / "slow.py").write_text(_CODE)
    return {"call": "slow:net"}
