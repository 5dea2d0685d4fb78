"""Meta graphs of TensorFlow 1 as networks: see graph_network and graph_cut.

A training graph, whose batch norms use the batch's statistics, is refused: it lacks the operations of inference.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorflow.core.framework.variable_pb2 import VariableDef

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.networks import MetaGraph
from qatbuild.worker.models import graph_network


def build(inputs: Mapping[str, tf.Tensor], network: MetaGraph, ends: Mapping[str, str]) -> dict[str, tf.Tensor]:
    """Adds the network of a meta graph to the graph of the inputs; returns its outputs by name, see graph_network."""
    meta = _read(network)
    graph = graph_network.Graph(meta.graph_def, "meta graph", network.title, trainable(meta), {}, {})
    return graph_network.build(inputs, graph, (network.inputs, network.outputs), ends)


def trainable(meta: tf.compat.v1.MetaGraphDef) -> frozenset[str] | None:
    """Returns the names of the trainable variables; None if the meta graph has no list of them."""
    if "trainable_variables" not in meta.collection_def:
        return None
    values = meta.collection_def["trainable_variables"].bytes_list.value
    return frozenset(VariableDef.FromString(each).variable_name.partition(":")[0] for each in values) or None


def _read(network: MetaGraph) -> tf.compat.v1.MetaGraphDef:
    meta, path = tf.compat.v1.MetaGraphDef(), network.path
    facts = [("model.meta_graph", path)]
    if not path.is_file():
        raise StageError("The meta graph does not exist.", facts, "The path is relative to the spec.")
    try:
        meta.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as fault:
        raise StageError("A meta graph cannot be read.", [*facts, ("reason", fault)]) from fault
    if not meta.graph_def.node:
        raise StageError("A meta graph is empty.", facts)
    return meta
