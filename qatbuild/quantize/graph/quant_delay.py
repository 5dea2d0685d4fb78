"""Delay of quantization by a number of training steps (quant_delay).

The FakeQuant is outside the conditional, so its range is learnt from the first step on; the conditional only selects
the fake-quantized or the raw tensor.
"""

from __future__ import annotations

import tensorflow as tf

from qatbuild.quantize.graph.rewire import switch_and_merge

v1 = tf.compat.v1

STEP = "fake_quantization_step"


def delayed(quantized: tf.Tensor, raw: tf.Tensor, prefix: str, delay_steps: int) -> tf.Tensor:
    """Returns `raw` in the first `delay_steps` - 1 runs of the graph, and `quantized` from then on."""
    step = counted_step(quantized.graph)
    with v1.name_scope(f"{prefix}/"):
        active = tf.greater_equal(step, tf.constant(delay_steps, tf.int64), name="activate_quant")
        with switch_and_merge():
            return v1.cond(active, lambda: quantized, lambda: raw, name="delayed_quant")


def counted_step(graph: tf.Graph) -> tf.Tensor:
    """Returns the number of runs of the graph, this one included: an int64 scalar, one for the whole graph."""
    try:
        return graph.get_tensor_by_name(f"{STEP}/Identity:0")
    except KeyError:
        pass
    with v1.name_scope(None), tf.device(None):  # not in the scope of the first layer that needs it
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
