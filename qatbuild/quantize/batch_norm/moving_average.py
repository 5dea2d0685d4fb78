"""Finds the moving average of a batch statistic, by following the statistic to the assignment of a variable.

Two forms are recognised: `moving -= (moving - statistic) rate` (tf.train's assign_moving_average) and
`moving <- moving decay + statistic rate` (Keras). An average that starts at 0 and is divided by 1 - decay^t
(zero_debias) is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from qatbuild.quantize.graph.layer_ops import variable_of

_PASSING = frozenset({"Cast", "Identity", "Reshape", "Squeeze"})
_SUBTRACTS = frozenset({"AssignSub", "AssignSubVariableOp"})
_ASSIGNS = frozenset({"Assign", "AssignVariableOp"})


@dataclass(frozen=True)
class MovingAverage:
    """A moving average: the `value` that its `update` reads, float32 [channels], before it assigns the next."""

    value: tf.Tensor
    update: tf.Operation

    @property
    def assigns_a_difference(self) -> bool:
        """Whether the update subtracts a difference, which is exactly 0 for a statistic equal to the average."""
        return self.update.type in _SUBTRACTS

    @property
    def changes_its_readers(self) -> bool:
        """Whether the update changes values read before it: readers of a reference variable see its memory."""
        return self.update.type in {"Assign", "AssignSub"}


def moving_average_of(statistic: tf.Tensor) -> MovingAverage | None:
    """Returns the moving average of a batch statistic, or None without one."""
    return next(_averages(statistic), None)


def _averages(statistic: tf.Tensor) -> Iterator[MovingAverage]:
    for consumer in statistic.consumers():
        if consumer.type in _PASSING:
            yield from _averages(consumer.outputs[0])
        elif consumer.type == "Sub" and consumer.inputs[1] is statistic:
            for scaled in _of_type(consumer, {"Mul"}):
                yield from _matching(consumer.inputs[0], _of_type(scaled, _SUBTRACTS))
        elif consumer.type == "Mul":
            for total in _of_type(consumer, {"Add", "AddV2"}):
                for decayed in total.inputs:
                    if decayed.op.type == "Mul" and decayed.op is not consumer:
                        for value in decayed.op.inputs:
                            yield from _matching(value, _of_type(total, _ASSIGNS))


def _matching(value: tf.Tensor, updates: Iterator[tf.Operation]) -> Iterator[MovingAverage]:
    variable = variable_of(value)
    for update in updates:
        if variable is update.inputs[0].op and not _is_divided(variable):
            yield MovingAverage(value, update)


def _is_divided(variable: tf.Operation) -> bool:
    """Returns whether the variable is divided before inference reads it (zero_debias)."""
    return any(consumer.type == "RealDiv" for read in variable.outputs[0].consumers() for output in read.outputs for
               consumer in output.consumers())  # fmt: skip


def _of_type(operation: tf.Operation, types: set[str] | frozenset[str]) -> Iterator[tf.Operation]:
    return (consumer for consumer in operation.outputs[0].consumers() if consumer.type in types)
