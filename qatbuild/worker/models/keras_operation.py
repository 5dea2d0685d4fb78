"""Single layers and operations of Keras, again and without their variables, for a copy of a model in a graph."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from qatbuild.quantize.graph import authored
from qatbuild.worker.models import keras_layers, keras_refusals, layers, unrolled_loops


class StepSeeds(keras.random.SeedGenerator):  # type: ignore[misc]
    """Seeds for the noise of a layer: a function of the graph's seed, the layer's name and the global step."""

    def __init__(self, name: str) -> None:
        """Keeps the name; the inherited method would make a variable."""
        self.name = name
        self._drawn = 0

    def next(self, ordered: bool = True) -> tf.Tensor:  # noqa: ARG002, FBT001, FBT002  as Keras has it
        """Returns a seed, int64 [2]; a layer that is used twice gets another seed each time."""
        self._drawn += 1
        return layers.step_seed(self.name if self._drawn == 1 else f"{self.name}:{self._drawn}")


def note(graph: tf.Graph, scope: str, operation: keras.Operation) -> None:
    """Notes an operation's name and class for refusals, and those of the layers in it that have no integer form."""
    rows = list(keras_layers.without_integer_form(operation))
    for name, inner, without in rows:
        authored.note(graph, authored.AuthoredLayer(scope, name, inner, without.why, without.hint))
    if not rows:
        authored.note(graph, authored.AuthoredLayer(scope, operation.name, keras_layers.described(operation)))


def same(operation: keras.Operation, name: str) -> keras.Operation:
    """Returns an operation with the same arguments that is in no network yet; it has no variables."""
    copy = operation.__class__.__new__(operation.__class__)
    copy.__dict__.update(vars(operation), name=name, _inbound_nodes=[], _outbound_nodes=[])
    return copy


def again(layer: keras.Layer, name: str, seed: int) -> keras.Layer:
    """Returns a layer of the same configuration; initializers without a seed get one, by the graph's and the name."""
    if isinstance(layer, keras.layers.Lambda):  # From the user's own module: a file with a custom class is not loaded.
        function, arguments = layer.function, layer.arguments
        return keras.layers.Lambda(function, output_shape=layer._output_shape, arguments=arguments, name=name)  # noqa: SLF001
    config = _config(layer, name, seed)
    try:
        copy = type(layer).from_config(config)
    except Exception as fault:
        raise keras_refusals.not_copied(layer, fault) from fault
    if isinstance(copy, keras.layers.UpSampling1D | keras.layers.UpSampling2D):
        _resize_at_once(copy)
    for inner in copy._flatten_layers():  # noqa: SLF001
        if unrolled_loops.is_unrolled(inner):
            inner.call = unrolled_loops.unroll(inner)
    return copy


def _config(layer: keras.Layer, name: str, seed: int) -> dict[str, Any]:
    """Returns the configuration of the copy: with its name and seeds, without regularizers, in float32."""
    try:
        config = {**layer.get_config(), "name": name}
    except NotImplementedError as fault:
        raise keras_refusals.not_copied(layer, fault) from fault
    for key, value in config.items():
        _seed(value, f"{layer.name}/{key}", seed)
    for key in [key for key in config if key.endswith("_regularizer")]:
        config[key] = None
    if isinstance(layer, keras.layers.Bidirectional):
        for key in {"layer", "backward_layer"} & set(config):
            config[key].pop("build_config", None)  # It would get variables, and then be copied for each direction.
    if "dtype" in config and layer.variable_dtype == "float32":
        config["dtype"] = "float32"  # Mixed precision is for training; integers begin with real numbers of 32 bits.
    return config


def _resize_at_once(layer: keras.layers.UpSampling1D | keras.layers.UpSampling2D) -> None:
    """Makes a nearest upsampling one resize; Keras repeats rows, then columns: ExpandDims, Tile, Reshape for each."""

    def resized(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
        sizes = images.shape[1] * height, images.shape[2] * width
        return keras.ops.image.resize(images, sizes, interpolation="nearest", data_format="channels_last")

    def sequence(values: tf.Tensor) -> tf.Tensor:
        return keras.ops.squeeze(resized(keras.ops.expand_dims(values, 2), layer.size, 1), 2)

    if isinstance(layer, keras.layers.UpSampling1D):
        layer.call = sequence
    elif layer.interpolation == "nearest" and layer.data_format == "channels_last":
        layer.call = functools.partial(resized, height=layer.size[0], width=layer.size[1])


def _seed(config: Any, name: str, seed: int) -> None:
    """Replaces missing seeds of initializers in a layer's configuration, by the graph's seed and the layer's name."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        if "class_name" in config and isinstance(inner, dict) and inner.get("seed", 0) is None:
            inner["seed"] = zlib.crc32(f"{seed}:{name}".encode()) % (2**31 - 1)
        for key, value in config.items():
            _seed(value, f"{name}/{key}", seed)


def plain(name: str) -> str:
    """Returns a valid scope name for a layer, to which Keras may give any name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)
