"""Tasks on arrays: a dataset of arrays, the loss and its gradients, the results, and the meter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.outputs import Output
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker import tasks
from qatbuild.worker.tasks.columns import Column, DatasetFacts

__all__ = ["BYTES", "Column", "check", "classes", "dataset", "filled", "loss", "measure", "results", "task"]

v1 = tf.compat.v1

Arrays = Mapping[str, NDArray[Any]]

BYTES = Scaling(0, 1)


def dataset(**columns: Column) -> DatasetFacts:
    """A dataset of some columns, with images of bytes named `images`, unless there are others of this name."""
    return DatasetFacts({"images": Column("uint8", (4, 4, 1)), **columns}, {}, {}, ())


def classes(count: int, *shape: int) -> Column:
    return Column("int32", shape, tuple(map(str, range(count))))


def task(name: str, fields: Mapping[str, Any], **columns: Column) -> Any:
    """The task of the output `name` that has these fields in the spec; its input is `images`."""
    return tasks.make(name, Output.of(fields), dataset(**columns), {"images": BYTES})


def loss(
    made: tasks.Task, tensors: Arrays, targets: Arrays, inputs: Arrays | None = None
) -> tuple[float, dict[str, Any]]:
    """The loss, and its gradients by the tensor's name. Placeholders have the batch open, as in a training."""
    with tf.Graph().as_default(), v1.Session() as session:
        opened = {name: v1.placeholder(tf.float32, [None, *each.shape[1:]]) for name, each in tensors.items()}
        columns = {name: v1.placeholder(each.dtype, [None, *each.shape[1:]]) for name, each in targets.items()}
        real = {name: v1.placeholder(tf.float32, [None, *each.shape[1:]]) for name, each in (inputs or {}).items()}
        made.check(opened)
        value = made.loss(opened, columns, real)
        assert value.dtype == tf.float32
        assert value.shape == ()
        feeds = {
            **{opened[name]: each for name, each in tensors.items()},
            **{columns[name]: each for name, each in targets.items()},
            **{real[name]: each for name, each in (inputs or {}).items()},
        }
        gradients = dict(zip(opened, v1.gradients(value, list(opened.values())), strict=True))
        got, slopes = session.run([value, gradients], feeds)
    assert all(np.isfinite(each).all() for each in slopes.values())
    return float(got), slopes


def results(made: tasks.Task, tensors: Arrays) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The results by tensor name, and the names of their operations, of a network whose scope is Net."""
    with tf.Graph().as_default(), v1.Session() as session:
        opened = {name: tf.constant(each, tf.float32, name=f"Net/{name}") for name, each in tensors.items()}
        ends = made.results(opened)
        return session.run(ends), {name: each.op.name for name, each in ends.items()}


def check(made: tasks.Task, **shapes: list[int | None]) -> None:
    """Let the task check tensors of these shapes; two underscores stand for a slash."""
    with tf.Graph().as_default():
        made.check({name.replace("__", "/"): v1.placeholder(tf.float32, shape) for name, shape in shapes.items()})


def measure(made: tasks.Task, tensors: Arrays, targets: Arrays, batch: int = 7) -> dict[str, float]:
    """The metrics, measured batch by batch."""
    meter = filled(made, tensors, targets, batch)
    return meter.values()


def filled(made: tasks.Task, tensors: Arrays, targets: Arrays, batch: int = 7) -> tasks.Meter:
    meter = made.meter()
    for start in range(0, len(next(iter(tensors.values()))), batch):
        part = slice(start, start + batch)
        meter.add(
            {name: each[part] for name, each in tensors.items()}, {name: each[part] for name, each in targets.items()}
        )
    return meter
