"""The time of a training step, measured: forwards and backwards through the network, on values drawn at random."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.exchange.look import Speed, SpeedQuestion
from qatbuild.worker import models

v1 = tf.compat.v1

_LEAST_SECONDS = 1.0
_MOST_STEPS = 20


def answer(question: SpeedQuestion) -> Speed:
    """Measures the network of a question; StageError if it cannot be built for these data.

    The median of up to 20 steps, within a second or so, after one that warms up.
    """
    sys.path.insert(0, question.project)
    network = networks.read(question.model, question.network_file)
    with tf.Graph().as_default():
        batches = {
            name: v1.placeholder(tf.float32, [question.batch_size, *shape]) for name, shape in question.inputs.items()
        }
        # With a batch size the network could depend on it; the training leaves it open, too.
        inputs = {name: v1.placeholder_with_default(batch, [None, *batch.shape[1:]]) for name, batch in batches.items()}
        tensors = models.build(inputs, question.outputs, network, training=True)
        loss = tf.add_n([tf.reduce_mean(tf.square(tensor)) for tensor in tensors.values()])
        variables = v1.trainable_variables()
        gradients = [each for each in tf.gradients(loss, variables) if each is not None] if variables else []
        fetched = [loss, *gradients]  # A group of them would be pruned: no operation reads what they compute.
        config = v1.ConfigProto(
            intra_op_parallelism_threads=question.threads, inter_op_parallelism_threads=question.threads
        )
        random = np.random.default_rng(1)
        values = {batch: random.normal(size=batch.shape).astype(np.float32) for batch in batches.values()}
        with v1.Session(config=config) as session:
            session.run(v1.global_variables_initializer())
            return Speed(_median_seconds(lambda: session.run(fetched, values)))


def _median_seconds(step: Callable[[], object]) -> float:
    step()
    seconds: list[float] = []
    while len(seconds) < _MOST_STEPS and sum(seconds) < _LEAST_SECONDS:
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[len(seconds) // 2]
