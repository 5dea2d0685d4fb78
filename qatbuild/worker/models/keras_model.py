"""Keras 3 models in a TF 1 graph: functional and sequential models, from a file or from the user's function.

Keras keeps state outside of the graph, and numbers names by counters of the process. So a model is copied into the
graph layer by layer. In the copy

    names      are <model>/<layer>/<variable> and <model>/<layer>/<operation>, in training and inference graph
    weights    begin with the file's (`values`), else with random values from the graph's seed and the layer's name;
               an initializer with its own seed keeps it
    dropout    and other noise depend on the graph's seed, the layer's name and the global step: see models.layers
    averages   of batch norms are updated in every step (UPDATE_OPS), except in frozen layers
    softmax    at the end is left out, so the copy returns logits

Regularizers are not copied: use train.weight_decay. Files are only loaded in Keras' safe mode, which runs no code.
"""

from __future__ import annotations

import functools
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.worker.models import keras_refusals, layers, scaling_layers

v1 = tf.compat.v1
_UPDATES = frozenset({"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"})
_NOISE_STATE = "seed_generator_state"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Loaded:
    """A model loaded from a file, outside of every graph, and its variables' values in the order of model.variables."""

    model: keras.Model
    values: tuple[np.ndarray[Any, Any], ...]


def load(path: Path) -> Loaded:
    """Load a .keras file, or a Keras 2 .h5 file; StageError if that fails or would need to run code of the file."""
    return _load(path, path.stat().st_mtime_ns if path.is_file() else 0)


@functools.lru_cache(maxsize=1)
def _load(path: Path, _mtime_ns: int) -> Loaded:
    if not path.is_file():
        raise StageError("The Keras file does not exist.", [("model.keras", path)], "the path is relative to the spec")

    def read() -> Loaded:
        try:
            with warnings.catch_warnings():  # of training settings and optimizers, which are not used
                warnings.simplefilter("ignore")
                model = keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as fault:
            raise keras_refusals.unreadable(path, fault) from fault
        keras_refusals.check(model, path.name)
        return Loaded(model, tuple(variable.numpy() for variable in model.variables))

    return _elsewhere(read)


def drafted(build: Callable[[tf.Tensor], object], images: tf.Tensor) -> keras.Model | None:
    """Return the Keras model that a function of images returns; None if it returns something else.

    The function is called with images of the same shape in a temporary graph; the model is only read for its layers.
    StageError if the function loads weights into the model, because they would be lost.
    """

    def draft() -> keras.Model | None:
        with tf.Graph().as_default() as graph:
            v1.set_random_seed(images.graph.seed or 0)
            v1.train.get_or_create_global_step()
            result = build(v1.placeholder(images.dtype, images.shape, name="input"))
            if not keras_refusals.is_keras(result):
                return None
            keras_refusals.check(result, "the function's result")
            initial = {variable.initializer.name for variable in v1.global_variables()}
            loads = [each for each in graph.get_operations() if each.type in _UPDATES and each.name not in initial]
            if loads:
                raise keras_refusals.loaded_weights(loads)
            return result

    return _elsewhere(draft)


def build(images: tf.Tensor, model: keras.Model, *, training: bool) -> tf.Tensor:
    """Copy the model into the graph of `images`; return logits, float32 [batch, classes].

    StageError if it cannot take images of this shape, or has layers that a network must not have (keras_refusals).
    """
    return _Copy(images, model).logits(training=training)


def values(loaded: Loaded, images: tf.Tensor) -> dict[str, np.ndarray[Any, Any]]:
    """Return the initial values of a copy's variables by name; adds the copy to the graph of `images`."""
    copy = _Copy(images, loaded.model)
    pairs = zip(copy.model.variables, loaded.values, strict=True)
    return {each.value.op.name: value for each, value in pairs if each.name != _NOISE_STATE}


def _elsewhere(function: Callable[[], Result]) -> Result:
    """Call a function in a thread of its own, and return its result.

    No graph is active in a new thread, and Keras, which numbers the names of each thread, begins at 1: so names do not
    depend on what the process has built before.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


@dataclass
class _Copy:
    """The copy of a model in the graph of `images`."""

    images: tf.Tensor
    source: keras.Model
    _prefixes: list[str] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        keras_refusals.check_shape(self.source, self.images)
        self.graph = self.images.graph
        self.scope = _plain(self.source.name).lstrip("_-") or "model"
        if self.graph.unique_name(self.scope, mark_as_used=False) != self.scope:
            hint = "give the model another name"
            raise StageError("A Keras model has a name that the graph needs.", [("name", self.source.name)], hint)
        for each in _models(self.source):
            each.compiled = False  # a copy would get an optimizer too
            each.name = _plain(each.name)  # and this name, for a scope
        with tf.variable_creator_scope(self._create), v1.name_scope(f"{self.scope}/keras"):
            self.model = keras.models.clone_model(self.source, clone_function=self._layer, recursive=True)
        self._sort_out_collections()

    def logits(self, *, training: bool) -> tf.Tensor:
        if training:
            v1.train.get_or_create_global_step()
        before = len(self.graph.get_operations())
        with v1.name_scope(f"{self.scope}/"):
            output = self.model(self.images, training=training)
        made = self.graph.get_operations()[before:]
        keras_refusals.check_randomness(made)
        if training:
            for update in made:
                if update.type in _UPDATES:
                    v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, update)
        keras_refusals.check_output(output, self.source)
        return output.op.inputs[0] if output.op.type == "Softmax" else output

    def _layer(self, layer: keras.Layer) -> keras.Layer:
        """Copy a layer without its variables, with its name as scope."""
        name = self._free(layer.name)
        copy = _again(layer, name, self.graph.seed or 0)
        if hasattr(copy, "seed_generator"):
            # Bypasses Keras, which would keep the generator's state as a variable.
            object.__setattr__(copy, "seed_generator", _StepSeeds(f"{self.scope}/{name}"))
        if scaling_layers.scales(layer):
            copy.call = scaling_layers.with_constants(layer)
        for method in ("build", "call"):
            setattr(copy, method, self._inside(getattr(copy, method), f"{self.scope}/{name}/"))
        return copy

    def _inside(self, method: Callable[..., Any], prefix: str) -> Callable[..., Any]:
        """Wrap a method so that its operations and variables get the name scope `prefix`."""

        @functools.wraps(method)
        def inside(*arguments: Any, **named: Any) -> Any:
            self._prefixes.append(prefix)
            try:
                with v1.name_scope(prefix):
                    return method(*arguments, **named)
            finally:
                self._prefixes.pop()

        return inside

    def _create(self, create: Callable[..., tf.Variable], **settings: Any) -> tf.Variable:
        if not self._prefixes:
            return create(**settings)
        # Keras opens scopes by the layers' names again: a name that ends in "/" is used as it is.
        with v1.name_scope(self._prefixes[-1]):
            return create(**settings)

    def _free(self, name: str) -> str:
        wanted = name = _plain(name)
        number = 0
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name

    def _sort_out_collections(self) -> None:
        """Remove frozen variables from the trainable ones, and generator states from all collections."""
        pairs = list(zip(self.source.variables, self.model.variables, strict=True))
        frozen = {copy.value.op.name for source, copy in pairs if not source.trainable}
        unused = {copy.value.op.name for _, copy in pairs if copy.name == _NOISE_STATE}
        for key, names in ((v1.GraphKeys.TRAINABLE_VARIABLES, frozen), (v1.GraphKeys.GLOBAL_VARIABLES, unused)):
            collection = self.graph.get_collection_ref(key)
            collection[:] = [variable for variable in collection if variable.op.name not in names]


class _StepSeeds(keras.random.SeedGenerator):  # type: ignore[misc]
    """Seeds for the noise of a layer: a function of the graph's seed, the layer's name and the global step."""

    def __init__(self, name: str) -> None:  # The inherited method makes a variable.
        self.name = name
        self._drawn = 0

    def next(self, ordered: bool = True) -> tf.Tensor:  # noqa: ARG002, FBT001, FBT002  as Keras has it
        """Return a seed, int64 [2]; a layer that is used twice gets another seed each time."""
        self._drawn += 1
        return layers.step_seed(self.name if self._drawn == 1 else f"{self.name}:{self._drawn}")


def _plain(name: str) -> str:
    """Return a valid scope name for a layer, to which Keras may give any name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _again(layer: keras.Layer, name: str, seed: int) -> keras.Layer:
    if isinstance(layer, keras.layers.Lambda):  # From the user's own module: a file with a custom class is not loaded.
        function, arguments = layer.function, layer.arguments
        return keras.layers.Lambda(function, output_shape=layer._output_shape, arguments=arguments, name=name)  # noqa: SLF001
    config = {**layer.get_config(), "name": name}
    for key, value in config.items():
        _seed(value, f"{layer.name}/{key}", seed)
    for key in [key for key in config if key.endswith("_regularizer")]:
        config[key] = None
    try:
        return type(layer).from_config(config)
    except Exception as fault:
        raise keras_refusals.not_copied(layer, fault) from fault


def _seed(config: Any, name: str, seed: int) -> None:
    """Replace missing seeds of initializers in a layer's configuration, by the graph's seed and the layer's name."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        if "class_name" in config and isinstance(inner, dict) and inner.get("seed", 0) is None:
            inner["seed"] = zlib.crc32(f"{seed}:{name}".encode()) % (2**31 - 1)
        for key, value in config.items():
            _seed(value, f"{name}/{key}", seed)


def _models(model: keras.Model) -> Iterator[keras.Model]:
    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _models(layer)
