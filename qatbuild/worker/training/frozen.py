"""Graphs as files: without weights, and with a checkpoint's weights as constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from qatbuild.worker import graph_def
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.inference import Inference

v1 = tf.compat.v1

_VARIABLES = ("VarHandleOp", "VariableV2")


def without_weights(target: Inference) -> tf.compat.v1.GraphDef:
    """What leads from input to output: variables as operations, but no initial values and no assignments."""
    definition = target.graph.as_graph_def()
    return v1.graph_util.extract_sub_graph(definition, [target.output])


def freeze(graph: Path, weights: Path, output: str) -> bytes:
    """The graph of a file with its variables replaced by a checkpoint's values: a binary GraphDef.

    `weights` is a path without suffix, `output` the name of the operation to keep. A constant has its variable's
    name; equal files and values give equal bytes. StageError if the file is not a graph, or the checkpoint lacks
    variables of it (all are listed).
    """
    definition = graph_def.read(graph)
    variables = [node for node in definition.node if node.op in _VARIABLES]
    shapes = {node.name: [size.size for size in node.attr["shape"].shape.dim] for node in variables}
    values = checkpoint.values(weights, shapes)
    frozen = v1.GraphDef()
    frozen.versions.CopyFrom(definition.versions)
    for node in definition.node:
        frozen.node.add().CopyFrom(_frozen(node, values))
    # Reading a variable has become an identity: those go, with any other that training has left.
    lean = v1.graph_util.remove_training_nodes(frozen, protected_nodes=[output])
    content: bytes = lean.SerializeToString(deterministic=True)
    return content


def _frozen(node: tf.compat.v1.NodeDef, values: dict[str, Any]) -> tf.compat.v1.NodeDef:
    """The node, or what stands for it in a graph without variables."""
    if node.op in _VARIABLES:
        return graph_def.new_constant(node.name, values[node.name])
    if node.op == "ReadVariableOp":
        identity = v1.NodeDef(name=node.name, op="Identity", input=node.input)
        identity.attr["T"].type = node.attr["dtype"].type
        return identity
    return node
