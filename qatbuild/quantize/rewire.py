"""The only place that goes beyond TensorFlow's public interface, or uses it in an unusual way; each with its reason.

Anything here may have to change with a new TensorFlow release, and nothing else in the rewriter should.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import tensorflow as tf


def replace_input(consumers: Iterable[tf.Operation], old: tf.Tensor, new: tf.Tensor) -> int:
    """Feed `new` wherever the consumers read `old`; the number of edges that were moved.

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


@contextmanager
def switch_and_merge() -> Iterator[None]:
    """Inside, `tf.compat.v1.cond` builds Switch and Merge operations whatever the process's default is.

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
