"""The rewrites by name: "tf1" does what tf.contrib.quantize did, "integer" models what the integer runtime does.

The graph is changed in place. Handles taken before (the logits, say) still point at the tensor before its FakeQuant;
what consumed them in the graph (the loss, the softmax) is rewired. So call them once the network and its softmax exist,
and before the optimizer. Both graphs name their variables alike: the one restores the other's checkpoint.
"""

from __future__ import annotations

import tensorflow as tf

from qatbuild.quantize.integer.rewrite import Integer
from qatbuild.quantize.options import Options
from qatbuild.quantize.rewrite_report import RewriteReport
from qatbuild.quantize.tf1.placement import Numbers
from qatbuild.quantize.tf1.rewrite import Rewrite


def rewrite_training(graph: tf.Graph, options: Options, *, input: str, logits: str) -> RewriteReport:  # noqa: A002
    """Put FakeQuants with learning ranges into a training graph, in place.

    `input` names the float32 tensor of real values, (byte - mean) / std_dev, `logits` the tensor of logits.
    RewriteError if the network cannot be rewritten.
    """
    if options.mode == "integer":
        return Integer(graph, options, input, logits, training=True).apply()
    return _rewrite(options, training=True).apply(graph)


def rewrite_inference(graph: tf.Graph, options: Options, *, input: str, logits: str) -> RewriteReport:  # noqa: A002
    """Put FakeQuants with fixed ranges into an inference graph, in place; see `rewrite_training`."""
    if options.mode == "integer":
        return Integer(graph, options, input, logits, training=False).apply()
    return _rewrite(options, training=False).apply(graph)


def plan_inference(graph: tf.Graph, options: Options, *, input: str, logits: str) -> RewriteReport:  # noqa: A002
    """Fold the batch norms of an inference graph, in place, and say what `rewrite_inference` would insert then.

    Nothing is inserted: `RewriteReport.quantized` says which tensors would get which ranges. For calibration.
    """
    if options.mode == "integer":
        return Integer(graph, options, input, logits, training=False).apply(insert=False)
    return _rewrite(options, training=False).plan(graph)


def _rewrite(options: Options, *, training: bool) -> Rewrite:
    numbers = Numbers(symmetric=options.scheme != "uint8")
    freeze = options.freeze_bn_delay_steps if training else None
    delay_steps = options.quant_delay_steps if training else 0
    return Rewrite(training, numbers, delay_steps, freeze_delay_steps=freeze)
