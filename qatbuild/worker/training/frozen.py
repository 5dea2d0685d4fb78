"""Graphs as files: without weights, and with a checkpoint's weights as constants.

Why not tf.compat.v1.graph_util.convert_variables_to_constants: it needs a session with all variables loaded, and its
error for a missing variable names one of them only. Here equal files give equal bytes, and all are listed.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import tensorflow as tf

from qatbuild.worker import graph_def
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.inference import Inference

v1 = tf.compat.v1

_VARIABLES = ("VarHandleOp", "VariableV2")


def without_weights(target: Inference) -> tf.compat.v1.GraphDef:
    """Returns the part of a graph on which the outputs depend: variables are operations, without initial values."""
    definition = target.graph.as_graph_def()
    return v1.graph_util.extract_sub_graph(definition, list(target.outputs.values()))


def freeze(graph: Path, weights: Path, outputs: Collection[str]) -> bytes:
    """Replaces the variables in a file's graph by a checkpoint's values; returns a binary GraphDef.

    `weights` is a path without suffix, `outputs` the names of the operations to keep. A constant has its variable's
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
        frozen.node.add().CopyFrom(_frozen(node))
    # Reads of variables are identities now: they are removed, with the nodes for training.
    lean = v1.graph_util.remove_training_nodes(frozen, protected_nodes=list(outputs))
    shaped = with_constant_shapes(lean, outputs)
    # The weights come last: each step before copies every node.
    for node in shaped.node:
        if node.name in values:
            graph_def.set_constant(node, values.pop(node.name))
    content: bytes = shaped.SerializeToString(deterministic=True)
    return content


def with_constant_shapes(definition: tf.compat.v1.GraphDef, outputs: Collection[str]) -> tf.compat.v1.GraphDef:
    """Returns a GraphDef whose Reshapes read a constant, [-1, 8, 8, 16], where at most one size is not fixed.

    Networks, those of Keras for one, compute this shape from that of their input, whose batch is free. In a .tflite
    that is SHAPE, STRIDED_SLICE and PACK before each RESHAPE. What the `outputs` do not depend on then is left out.
    """
    if not _computes_shapes(definition):
        return v1.graph_util.extract_sub_graph(definition, list(outputs))
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
    result = v1.GraphDef()
    result.versions.CopyFrom(definition.versions)
    for node in definition.node:
        sizes = _computed_sizes(graph.get_operation_by_name(node.name)) if node.op == "Reshape" else None
        if sizes is None:
            result.node.add().CopyFrom(node)
            continue
        constant = graph_def.new_constant(f"{node.name}/constant_shape", sizes, tf.as_dtype(node.attr["Tshape"].type))
        result.node.add().CopyFrom(constant)
        reshape = result.node.add()
        reshape.CopyFrom(node)
        reshape.input[1] = constant.name
    return v1.graph_util.extract_sub_graph(result, list(outputs))


def _computes_shapes(definition: tf.compat.v1.GraphDef) -> bool:
    """Returns whether a Reshape reads another shape than a constant: then the graph must be imported, which is slow."""
    nodes = graph_def.nodes_by_name(definition)
    reshapes = (node for node in definition.node if node.op == "Reshape")
    return not all(graph_def.is_constant(nodes[graph_def.op_name(node.input[1])]) for node in reshapes)


def _computed_sizes(reshape: tf.Operation) -> list[int] | None:
    """Returns the shape that a Reshape computes, with at most one -1; None if it is a constant, or not known."""
    shape = reshape.outputs[0].shape
    if reshape.inputs[1].op.type == graph_def.CONSTANT or shape.rank is None or shape.as_list().count(None) > 1:
        return None
    return [-1 if size is None else size for size in shape.as_list()]


def _frozen(node: tf.compat.v1.NodeDef) -> tf.compat.v1.NodeDef:
    """Returns the node, or its replacement in a graph without variables; constants for variables lack their values."""
    if node.op in _VARIABLES:
        constant = v1.NodeDef(name=node.name, op=graph_def.CONSTANT)
        constant.attr["dtype"].type = constant.attr["value"].tensor.dtype = node.attr["dtype"].type
        constant.attr["value"].tensor.tensor_shape.CopyFrom(node.attr["shape"].shape)
        return constant
    if node.op == "ReadVariableOp":
        identity = v1.NodeDef(name=node.name, op="Identity", input=node.input)
        identity.attr["T"].type = node.attr["dtype"].type
        return identity
    return node
