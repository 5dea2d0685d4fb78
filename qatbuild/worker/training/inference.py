"""The network for inference: no dropout, no augmentation, no optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.python.framework.meta_graph import import_scoped_meta_graph  # The public one adds a Saver.

from qatbuild.worker.training.application import Application, end_names, op_name
from qatbuild.worker.training.rewrite import Ends

v1 = tf.compat.v1

Rewriting = Callable[[tf.Graph, Ends, Ends], object]
"""Changes a graph in place: see Rewrite."""


@dataclass(frozen=True)
class Inference:
    """A graph from real inputs to results; all names are those of operations.

    inputs   placeholders by input, float32 [batch, *shape]: real values
    tensors  the network's tensors by name, before any fake quantization of them: logits, or values of a regression
    outputs  the results by the same names: softmax, sigmoid, or the values themselves
    """

    graph: tf.Graph
    inputs: Mapping[str, str]
    tensors: Mapping[str, str]
    outputs: Mapping[str, str]

    def serialized(self) -> bytes:
        """Returns the graph with its variables, for `parsed`: a binary MetaGraphDef, equal for equal graphs.

        It has all operations, those of the initial values too: with fewer a rewrite could name its own ones otherwise.
        """
        with self.graph.as_default():
            meta = v1.train.export_meta_graph(collection_list=[v1.GraphKeys.GLOBAL_VARIABLES])
        content: bytes = meta.SerializeToString(deterministic=True)
        return content

    @classmethod
    def parsed(
        cls, content: bytes, inputs: Mapping[str, str], tensors: Mapping[str, str], outputs: Mapping[str, str]
    ) -> Inference:
        """Returns what `serialized` wrote, with these names: a graph of layers takes several times as long to build."""
        graph = tf.Graph()
        with graph.as_default():
            import_scoped_meta_graph(v1.MetaGraphDef.FromString(content))
        return cls(graph, inputs, tensors, outputs)


def inference(target: Application, rewrite: Rewriting | None = None) -> Inference:
    """Builds the inference graph of a network, in float or changed in place by `rewrite`."""
    graph = tf.Graph()
    with graph.as_default():
        # Initial values are never used here, but TensorFlow needs a seed for them if kernels must be deterministic.
        v1.set_random_seed(1)
        reals = {
            name: v1.placeholder(tf.float32, [None, *each.shape], name=op_name(name, len(target.inputs)))
            for name, each in target.inputs.items()
        }
        tensors = target.network_tensors(target.by_channel(reals), training=False)
        results = target.results(tensors)
        inputs, ends, outputs = map(end_names, (reals, tensors, results))
        if rewrite is not None:
            rewrite(graph, inputs, ends)
    return Inference(graph, inputs, ends, outputs)
