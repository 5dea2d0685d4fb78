"""Networks as plain functions of tensors.

A network is a function `network(inputs, outputs, *, training, **options)`:

    inputs   float32 [batch, ...], real values such as (byte - mean) / std_dev; several are a dictionary by name
    outputs  last dimension of the result, such as the number of classes, or None: the network decides; several are a
             dictionary by name
    training whether the graph is for training; only then it has dropout
    result   float32 [batch, ..., size], before the task's softmax or sigmoid, which is left out if it is the last
             operation; several are a dictionary by name

Each shipped network is a module of its name, so that an edit of one network does not change the digests of the others.
A function of the user, "package.module:function", is imported from the project (functions); it may return a Keras 3
model instead of tensors. Keras files (keras_model) are networks, too, and so are meta graphs of TensorFlow 1
(meta_graph), SavedModels (saved_model) and frozen graphs (frozen_graph).
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.networks import Called, GraphDef, KerasFile, MetaGraph, Network, SavedModel, Shipped
from qatbuild.worker.models import functions
from qatbuild.worker.models.functions import shipped

__all__ = ["build", "hints", "initial", "shipped"]


def build(
    inputs: Mapping[str, tf.Tensor],
    sizes: Mapping[str, int | None],
    network: Network,
    *,
    training: bool,
    ends: Mapping[str, str] | None = None,
) -> dict[str, tf.Tensor]:
    """Adds a network to the default graph and returns its tensors by name, float32 [batch, ..., size].

    `inputs` are float32 [batch, ...] by name. `sizes` has the last dimension of each of the wanted tensors, None if the
    network decides. `ends` has the activation that the task computes itself, "softmax" or "sigmoid", by default "" for
    none: it is left out at the end, and a Keras model or a graph from a file that ends otherwise is refused.
    Names are the network's own; a lone input or output may have any name. StageError if the network does not exist,
    lacks an option, an input or an output, cannot take inputs of these shapes, or returns tensors of others.
    """
    wanted = {name: (ends or {}).get(name, "") for name in sizes}
    with _inlined_functions():
        tensors = _tensors(inputs, sizes, network, wanted, training=training)
    for name, tensor in tensors.items():
        _check(tensor, sizes, name, network)
    return tensors


def _tensors(
    inputs: Mapping[str, tf.Tensor],
    sizes: Mapping[str, int | None],
    network: Network,
    ends: Mapping[str, str],
    *,
    training: bool,
) -> dict[str, tf.Tensor]:
    tensors: dict[str, tf.Tensor]
    match network:
        case KerasFile(path):
            model = _part("keras_files").load(path).model
            tensors = _part("keras_model").build(inputs, model, ends, training=training)
        case MetaGraph():
            tensors = _part("meta_graph").build(inputs, network, ends)
        case SavedModel():
            tensors = _part("saved_model").build(inputs, network, ends)
        case GraphDef():
            tensors = _part("frozen_graph").build(inputs, network, ends)
        case Called():
            tensors = functions.build_called(inputs, sizes, network, ends, training=training)
        case Shipped():
            tensors = functions.build_shipped(inputs, sizes, network, training=training)
    return tensors


@contextlib.contextmanager
def _inlined_functions() -> Iterator[None]:
    """Lets a tf.function add its operations to the graph itself, where they are seen, instead of a call.

    Keras wraps some of its own operations in one, such as a convolution in groups.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(run_eagerly=True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def initial(shapes: Mapping[str, Sequence[int]], network: Network) -> dict[str, np.ndarray[Any, Any]] | None:
    """Returns the trained values of a network's variables by name; None unless a file of the network holds them.

    `shapes` are those of one example of each input, such as [height, width, channels].
    """
    values: dict[str, np.ndarray[Any, Any]]
    if isinstance(network, SavedModel | GraphDef):
        values = _part("saved_model" if isinstance(network, SavedModel) else "frozen_graph").values(network)
        return values
    if not isinstance(network, KerasFile):
        return None
    loaded = _part("keras_files").load(network.path)
    with tf.Graph().as_default(), _inlined_functions():
        inputs = {name: tf.compat.v1.placeholder(tf.float32, [None, *shape]) for name, shape in shapes.items()}
        values = _part("keras_model").values(loaded, inputs)
    return values


def hints(network: Network) -> Mapping[str, str]:
    """Returns the table HINTS of a network's module: type of an operation without integer form -> hint for the user."""
    return functions.hints(network) if isinstance(network, Shipped | Called) else {}


def _part(name: str) -> ModuleType:
    """Imports a module of this package that only some networks need; the plan lists it for those networks."""
    return importlib.import_module(f"{__name__}.{name}")


def _check(tensor: Any, sizes: Mapping[str, int | None], name: str, network: Network) -> None:
    size = sizes[name]
    if not tf.is_tensor(tensor):
        got = type(tensor).__name__
    elif tensor.dtype == tf.float32 and tensor.shape.rank and size in (None, tensor.shape[-1]):
        return
    else:
        shape = tensor.shape.as_list() if tensor.shape.rank is not None else "?"
        got = f"{tensor.dtype.name} tensor {shape}"
    wanted = "float32 tensor [batch, ...]" if size is None else f"float32 tensor [batch, {size}]"
    facts = [("network", network.title), ("output", name), ("wanted", wanted), ("got", got)]
    raise StageError("The network did not return logits.", facts if len(sizes) > 1 else [facts[0], *facts[2:]])
