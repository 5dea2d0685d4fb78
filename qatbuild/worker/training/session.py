"""Sessions: how many threads, and the same bits each time."""

from __future__ import annotations

import os

import tensorflow as tf

from qatbuild.worker.training.precision import FLOAT32, configure

THREADS_VARIABLE = "QATBUILD_THREADS"


def deterministic() -> None:
    """From now on the process builds and runs graphs that give the same bits each time.

    Called before a graph is built, too: TensorFlow then chooses other operations for some functions.
    """
    tf.config.experimental.enable_op_determinism()


def session(graph: tf.Graph, precision: str = FLOAT32, *, as_written: bool = False) -> tf.compat.v1.Session:
    """A session on a graph, with QATBUILD_THREADS threads (all cores by default) and deterministic kernels.

    With `as_written` no operations are fused, which costs time: TensorFlow 2.21 cannot fetch all of those that are.
    """
    deterministic()
    threads = int(os.environ.get(THREADS_VARIABLE) or os.cpu_count() or 1)
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
    config.gpu_options.allow_growth = True
    config.graph_options.rewrite_options.disable_meta_optimizer = as_written
    configure(config, precision)
    return tf.compat.v1.Session(graph=graph, config=config)
