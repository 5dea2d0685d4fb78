"""Whether a network returns one result for each example."""

from __future__ import annotations

import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.worker.training.frozen import without_weights
from qatbuild.worker.training.inference import Inference

_EXAMPLES = 1009
"""A prime: no part of a batch of this size, and no batch of parts of examples, has as many rows."""


def check_batch_size(built: Inference, network: str) -> None:
    """Raises a StageError for an output that has another first dimension than the inputs.

    Nothing is computed: TensorFlow infers the shapes again, for a batch of a size that is known.
    """
    definition = without_weights(built)
    with tf.Graph().as_default():
        inputs = {}
        for name in built.inputs.values():
            shape = built.graph.get_tensor_by_name(f"{name}:0").shape
            inputs[f"{name}:0"] = tf.compat.v1.placeholder(tf.float32, [_EXAMPLES, *shape[1:]])
        results = [f"{name}:0" for name in built.outputs.values()]
        tensors = tf.import_graph_def(definition, inputs, results, name="")
    for name, tensor in zip(built.outputs, tensors, strict=True):
        rows = tensor.shape[0] if tensor.shape.rank else None
        if rows not in {None, _EXAMPLES}:
            facts = [("network", network), ("output", name), ("of examples", _EXAMPLES), ("it returns", f"{rows} rows")]
            hint = "Keep the first dimension, the batch, of every tensor: x[:, ...] and tf.reshape(x, [-1, ...])."
            raise StageError("The network does not return one result for each example.", facts, hint)
