"""Holding quantization back for the first steps of a training (quant_delay).

The FakeQuant stands outside the gate, so its range learns from the first step on; the gate only chooses which of the
two tensors goes on: the FakeQuant's, or the raw one.
"""

from __future__ import annotations

import tensorflow as tf

from qatbuild.quantize.graph.rewire import switch_and_merge

v1 = tf.compat.v1

STEP = "fake_quantization_step"


def delayed(quantized: tf.Tensor, raw: tf.Tensor, prefix: str, delay_steps: int) -> tf.Tensor:
    """`raw` in the first `delay_steps` - 1 runs of the graph, `quantized` from then on."""
    step = counted_step(quantized.graph)
    with v1.name_scope(f"{prefix}/"):
        active = tf.greater_equal(step, tf.constant(delay_steps, tf.int64), name="activate_quant")
        with switch_and_merge():
            return v1.cond(active, lambda: quantized, lambda: raw, name="delayed_quant")


def counted_step(graph: tf.Graph) -> tf.Tensor:
    """The number of runs of the graph so far, this one included: int64 scalar, shared by all gates of a graph."""
    try:
        return graph.get_tensor_by_name(f"{STEP}/Identity:0")
    except KeyError:
        pass
    with v1.name_scope(None), tf.device(None):  # whichever layer is the first to ask for it
        step = v1.Variable(
            0,
            trainable=False,
            collections=[v1.GraphKeys.GLOBAL_VARIABLES],
            use_resource=False,
            name=STEP,
            dtype=tf.int64,
        )
    with v1.name_scope(f"{STEP}/"):
        counted = v1.assign_add(step, tf.constant(1, tf.int64), name="AssignAdd")
        return tf.identity(counted, name="Identity")
