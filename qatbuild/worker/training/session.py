"""Sessions: number of threads, and reproducible bits."""

from __future__ import annotations

import tensorflow as tf

from qatbuild.worker.training.precision import FLOAT32, configure

_NO_MEMORY_OPTIMIZATION = 1  # RewriterConfig.NO_MEM_OPT


def deterministic() -> None:
    """Makes the process build and run graphs with bit-identical results each time.

    Needed before a graph is built, too: TensorFlow then chooses other operations for some functions.
    """
    tf.config.experimental.enable_op_determinism()


def session(
    graph: tf.Graph, threads: int, precision: str = FLOAT32, *, as_written: bool = False
) -> tf.compat.v1.Session:
    """Opens a session on a graph, with `threads` threads and deterministic kernels.

    With `as_written` no operations are fused, which costs time: TensorFlow 2.21 cannot fetch all fused operations.
    """
    deterministic()
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
    config.gpu_options.allow_growth = True
    passes = config.graph_options.rewrite_options
    passes.disable_meta_optimizer = as_written
    # Loops and branches, which networks have none of, and swapping to the memory of another device: a fifth of the
    # seconds before the first step of a large network.
    passes.disable_tfg_optimizer = True
    passes.memory_optimization = _NO_MEMORY_OPTIMIZATION
    configure(config, precision)
    return tf.compat.v1.Session(graph=graph, config=config)
