"""Checkpoints: TF1 `Saver` files, restored by an explicit map from names to variables."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import StageError

v1 = tf.compat.v1

_SUFFIXES = (".index", ".data-00000-of-00001")
_PART_BYTES = 1 << 26
"""Bytes of the values that are fed together."""


def prefix(folder: Path, step: int) -> Path:
    """Returns the path of a step's published checkpoint, without the suffixes of its files."""
    return folder / f"model.ckpt-{step}"


def files(prefix: Path) -> list[Path]:
    """Returns the files of one checkpoint."""
    return [prefix.with_name(prefix.name + suffix) for suffix in _SUFFIXES]


class Saver:
    """Writes variables of the graph in which it is made, as files that TensorFlow's own `Saver` reads.

    TensorFlow's adds some operations for each variable that restore it: in a network of a thousand variables a large
    part of what a short training takes.
    """

    def __init__(self, variables: Mapping[str, tf.Variable]) -> None:
        """Adds the operations to the graph of the variables by name, which must be the default."""
        names = sorted(variables)
        self._prefix = v1.placeholder(tf.string, [], name="checkpoint_prefix")
        # The read that each variable has from the start: another one for each saver is two operations more.
        graph = v1.get_default_graph()
        self._saved = _save(self._prefix, names, [graph.as_graph_element(variables[name]) for name in names])

    def save(self, session: tf.compat.v1.Session, prefix: Path) -> None:
        """Writes a checkpoint; StageError naming the file if it cannot be written."""
        with _written(prefix):
            session.run(self._saved, {self._prefix: str(prefix)})


def _save(prefix: tf.Tensor | str, names: Sequence[str], tensors: Sequence[Any]) -> tf.Operation:
    return tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)


@contextlib.contextmanager
def _written(prefix: Path) -> Iterator[None]:
    """Makes the folder of a checkpoint that is written inside, and raises StageError naming it if that fails."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except (tf.errors.OpError, OSError, ValueError) as fault:
        for file in files(prefix):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
        facts = [("file", prefix), ("reason", str(fault).splitlines()[0])]
        raise StageError("A checkpoint cannot be written.", facts, "Check the free space on the disk.") from fault


def write(values: Mapping[str, np.ndarray[Any, Any]], prefix: Path) -> None:
    """Writes a checkpoint from values by name; StageError if it cannot be written."""
    names = sorted(values)
    # At once, in no graph: that would need a placeholder for each value. tf.init_scope stays in a graph of TF 1.
    with tf.__internal__.eager_context.eager_mode(), _written(prefix):
        _save(str(prefix), names, [values[name] for name in names])


def link(files: Iterable[Path], folder: Path) -> None:
    """Hard-links files into another folder; copies them if the file system has no links."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        target = folder / file.name
        target.unlink(missing_ok=True)
        try:
            os.link(file, target)
        except OSError:
            shutil.copyfile(file, target)


def values(prefix: Path, shapes: Mapping[str, Iterable[int]]) -> dict[str, np.ndarray[Any, Any]]:
    """Reads tensors of a checkpoint by name, with these names and shapes.

    StageError if it cannot be read, lacks one of the names (all are listed), or holds one in another shape.
    """
    reader = _reader(prefix, shapes)
    return {name: reader.get_tensor(name) for name in shapes}


def _reader(prefix: Path, shapes: Mapping[str, Iterable[int]]) -> Any:
    """Opens a checkpoint that has tensors with these names and shapes; raises the errors of `values`."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except (tf.errors.OpError, ValueError, OSError) as fault:
        facts = [("checkpoint", prefix), ("reason", str(fault).splitlines()[0])]
        raise StageError("A checkpoint cannot be read.", facts) from fault
    there = reader.get_variable_to_shape_map()
    missing = [name for name in shapes if name not in there]
    if missing:
        surplus = sorted(name for name in there if name not in shapes and not _TRAINING_ONLY.search(name))
        facts = [("checkpoint", prefix), ("missing", "\n".join(missing))]
        facts.append(("it has beside", "\n".join(surplus) or "none"))
        raise StageError("The checkpoint lacks variables of the network.", facts, _ANOTHER)
    wrong = [
        f"{name}: {there[name]} instead of {list(shape)}"
        for name, shape in shapes.items()
        if there[name] != list(shape)
    ]
    if wrong:
        facts = [("checkpoint", prefix), ("shapes", "\n".join(wrong))]
        raise StageError("The checkpoint's variables have other shapes than the network's.", facts, _ANOTHER)
    return reader


_ANOTHER = "The checkpoint belongs to another network, or to other options or another number of classes."
_TRAINING_ONLY = re.compile(r"^global_step$|/(Momentum|Adam(_1)?|ExponentialMovingAverage)$")


def explain(variables: Iterable[tf.Variable], *, restored: Iterable[tf.Variable], new: Iterable[tf.Variable]) -> None:
    """Raises StageError naming each variable that is neither restored from a checkpoint nor in `new`."""
    explained = {variable.op.name for variable in (*restored, *new)}
    unexplained = sorted(variable.op.name for variable in variables if variable.op.name not in explained)
    if unexplained:
        facts = [("variables", "\n".join(unexplained))]
        hint = "They would begin with wrong values. A network must make all its variables in its own function."
        raise StageError("Variables are neither in the checkpoint nor new in every training.", facts, hint)


def restore(session: tf.compat.v1.Session, variables: Iterable[tf.Variable], prefix: Path) -> None:
    """Gives each variable its value in the checkpoint, by name; raises the errors of `values`.

    As `tf.Variable.load` does, through the variables' own initializers, but a few at a time: no operation is added.
    """
    by_name = {variable.op.name: variable for variable in variables}
    reader = _reader(prefix, {name: variable.shape.as_list() for name, variable in by_name.items()})
    for part in _parts(by_name):
        feed = {variable.initializer.inputs[1]: reader.get_tensor(name) for name, variable in part.items()}
        session.run([variable.initializer for variable in part.values()], feed)


def _parts(variables: Mapping[str, tf.Variable]) -> Iterator[dict[str, tf.Variable]]:
    """Divides variables into parts of _PART_BYTES, in which no two have the same tensor as initial value."""
    part: dict[str, tf.Variable] = {}
    taken: set[str] = set()
    bytes_ = 0
    for name, variable in variables.items():
        initial = variable.initializer.inputs[1].name
        if initial in taken or bytes_ > _PART_BYTES:
            yield part
            part, taken, bytes_ = {}, set(), 0
        part[name] = variable
        taken.add(initial)
        bytes_ += variable.dtype.size * (variable.shape.num_elements() or 0)
    if part:
        yield part
