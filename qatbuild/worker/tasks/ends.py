"""The operations behind a network's tensors, and the error of a tensor that a task cannot read."""

from __future__ import annotations

import re
from collections.abc import Sequence

import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.worker.tasks.protocol import Tensors

Shape = Sequence[int | None]


def softmax(tensor: tf.Tensor) -> tf.Tensor:
    """Returns softmax over the last axis, the operation <Scope>/Predictions/Softmax."""
    with tf.name_scope(""):
        return tf.nn.softmax(tensor, name=_named(tensor, "Softmax"))


def sigmoid(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the sigmoid of each element, the operation <Scope>/Predictions/Sigmoid."""
    with tf.name_scope(""):
        return tf.sigmoid(tensor, name=_named(tensor, "Sigmoid"))


def classes(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the index of the greatest value of the last axis, int32, the operation <Scope>/Predictions/Classes."""
    with tf.name_scope(""):
        return tf.argmax(tensor, axis=-1, output_type=tf.int32, name=_named(tensor, "Classes"))


def identity(tensor: tf.Tensor, name: str) -> tf.Tensor:
    """Returns the tensor itself, as the operation <Scope>/Predictions/NAME; NAME is the tensor's name in the task."""
    with tf.name_scope(""):
        return tf.identity(tensor, name=_named(tensor, re.sub(r"[^A-Za-z0-9_./-]", "_", name)))


def _named(tensor: tf.Tensor, name: str) -> str:
    scope, slash, _ = tensor.op.name.partition("/")
    return f"{scope}/Predictions/{name}" if slash else f"Predictions/{name}"


def check(output: str, task: str, name: str, tensors: Tensors, shapes: Sequence[Shape], *, hint: str = "") -> None:
    """Compares the shape of a tensor, without its batch, with those that a task can read; None stands for any number.

    StageError that names what is wanted and got.
    """
    if name not in tensors:
        facts = [(f"outputs.{output}.task", task), ("wanted", name), ("got", ", ".join(tensors) or "no tensor")]
        raise StageError("The network does not return a tensor of an output.", facts)
    shape = tensors[name].shape
    if shape.rank is None or any(_fits(shape[1:].as_list(), wanted) for wanted in shapes if shape.rank):
        return
    facts = [
        (f"outputs.{output}.task", task),
        ("tensor", name),
        ("wanted", " or ".join(map(written, shapes))),
        ("got", written(shape.as_list()[1:]) if shape.rank else "a scalar, without a batch"),
    ]
    raise StageError("The network's output does not fit its task.", facts, hint)


def written(shape: Shape) -> str:
    """Returns a shape without its batch as text: [n, 10]."""
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"[{', '.join(['n', *sizes])}]"


def _fits(shape: Shape, wanted: Shape) -> bool:
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(None in {size, other} or size == other for size, other in pairs)
