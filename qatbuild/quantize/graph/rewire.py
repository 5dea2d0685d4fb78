"""Edits of a graph in place that need TensorFlow's private interface, or an unusual use of the public one.

A new TensorFlow release may require changes here, and nowhere else in this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf


def replace_input(consumers: Iterable[tf.Operation], old: tf.Tensor, new: tf.Tensor) -> int:
    """Lets the consumers read `new` instead of `old`; returns the number of edges that were moved.

    `Operation._update_input` is private: TensorFlow has no public way to change an edge of a graph in place, and
    rebuilding the graph from an edited GraphDef would leave the caller's handles (loss, global step) behind.
    """
    moved = 0
    for consumer in consumers:
        for index, tensor in enumerate(consumer.inputs):
            if tensor is old:
                consumer._update_input(index, new)  # noqa: SLF001
                moved += 1
    return moved


def duplicate(operation: tf.Operation, inputs: Sequence[tf.Tensor], name: str | None = None) -> tf.Operation:
    """Returns a copy of the operation with other inputs, in the current name scope, under `name` or its own last name.

    `Graph.create_op` is public, but reading an operation's attributes one by one is not: they come from its NodeDef.
    Attributes about the old operation alone are not copied: its colocation (_class) and its observed shapes.
    """
    attributes = {
        key: value for key, value in operation.node_def.attr.items() if key not in {"_class", "_output_shapes"}
    }
    return operation.graph.create_op(
        operation.type,
        list(inputs),
        [output.dtype for output in operation.outputs],
        name=name or operation.name.rpartition("/")[2],
        attrs=attributes,
    )


def run_first(first: Iterable[tf.Operation], then: tf.Operation) -> None:
    """Lets `then` run after the operations of `first`.

    `Operation._add_control_inputs` is private: control dependencies are public only while an operation is made. It is
    for readers of a reference variable, which see its memory: without an order, whether they see the value before or
    after an assignment of the same step is a race, and equal trainings end in different bytes.
    """
    then._add_control_inputs(list(first))  # noqa: SLF001


@contextmanager
def switch_and_merge() -> Iterator[None]:
    """Lets `tf.compat.v1.cond` build Switch and Merge operations inside the context, whatever the process's default is.

    A control flow v2 `If` would copy both values through function arguments, hide the gate in a function library and
    differ from the graphs that TF 1 wrote. The switch is public but belongs to the whole process, hence the restore.
    """
    was_enabled = tf.compat.v1.control_flow_v2_enabled()
    tf.compat.v1.disable_control_flow_v2()
    try:
        yield
    finally:
        if was_enabled:
            tf.compat.v1.enable_control_flow_v2()
