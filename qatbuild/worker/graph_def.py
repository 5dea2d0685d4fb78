"""Reading GraphDefs: their nodes, input strings and constants.

A node's input string is "name", "name:1" (the second output) or "^name" (a control edge: it orders, and has no value).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from qatbuild.exchange.errors import StageError

CONSTANT = "Const"


def read(path: Path, failure: type[StageError] = StageError) -> tf.compat.v1.GraphDef:
    """Reads a binary GraphDef; raises `failure`, with the file and the reason, if it cannot be read."""
    try:
        return tf.compat.v1.GraphDef.FromString(path.read_bytes())
    except (OSError, DecodeError) as fault:
        raise failure("A graph cannot be read.", [("file", path), ("reason", fault)]) from fault


def op_name(input_string: str) -> str:
    """Returns the operation of an input string: "a" for "a", "a:1" and "^a"."""
    return input_string.removeprefix("^").partition(":")[0]


def is_control(input_string: str) -> bool:
    """Returns whether an input string is a control edge."""
    return input_string.startswith("^")


def data_ops(node: tf.compat.v1.NodeDef) -> list[str]:
    """Returns the operations whose values a node reads, in the order of its inputs, without control edges."""
    return [op_name(each) for each in node.input if not is_control(each)]


def nodes_by_name(definition: tf.compat.v1.GraphDef) -> dict[str, tf.compat.v1.NodeDef]:
    """Returns the nodes of a GraphDef by name, in the file's order."""
    return {node.name: node for node in definition.node}


def source(
    nodes: Mapping[str, tf.compat.v1.NodeDef], input_string: str, through: Collection[str]
) -> tf.compat.v1.NodeDef:
    """Returns the node that makes a value, following first inputs through nodes of the types `through`."""
    node = nodes[op_name(input_string)]
    while node.op in through:
        node = nodes[op_name(node.input[0])]
    return node


def is_constant(node: tf.compat.v1.NodeDef) -> bool:
    """Returns whether a node is a Const."""
    return bool(node.op == CONSTANT)


def constant_ops(nodes: Iterable[tf.compat.v1.NodeDef], excluded: Collection[str] = ()) -> frozenset[str]:
    """Returns the names of the nodes whose values are computed from constants only.

    Nodes of the types `excluded` do not count, nor what is computed from them. Control edges are ignored.
    """
    nodes = list(nodes)
    readers: dict[str, list[str]] = {}
    missing: dict[str, int] = {}
    for node in nodes:
        inputs = data_ops(node)
        missing[node.name] = len(inputs)
        for each in inputs:
            readers.setdefault(each, []).append(node.name)
    allowed = {node.name for node in nodes if node.op not in excluded}
    pending = [node.name for node in nodes if is_constant(node)]
    constant = set(pending)
    while pending:
        for reader in readers.get(pending.pop(), []):
            missing[reader] -= 1
            if missing[reader] == 0 and reader in allowed:
                constant.add(reader)
                pending.append(reader)
    return frozenset(constant)


def constant(node: tf.compat.v1.NodeDef) -> NDArray[Any]:
    """Returns the value of a Const node."""
    return np.asarray(tf.make_ndarray(node.attr["value"].tensor))


def set_constant(node: tf.compat.v1.NodeDef, value: object, dtype: tf.DType | None = None) -> None:
    """Replaces the value and the type of a Const node."""
    tensor = tf.make_tensor_proto(value, dtype)
    node.attr["dtype"].type = tensor.dtype
    node.attr["value"].tensor.CopyFrom(tensor)


def new_constant(name: str, value: object, dtype: tf.DType | None = None) -> tf.compat.v1.NodeDef:
    """Makes a Const node; `dtype` is by default the value's own type."""
    node = tf.compat.v1.NodeDef(name=name, op=CONSTANT)
    set_constant(node, value, dtype)
    return node
