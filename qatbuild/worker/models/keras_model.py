"""Keras 3 models in a TF 1 graph: functional and sequential models, from a file or from the user's function.

Keras keeps state outside of the graph, and numbers names by counters of the process. So a model is copied into the
graph layer by layer. In the copy

    names      are <model>/<layer>/<variable> and <model>/<layer>/<operation>, in training and inference graph
    weights    begin with the file's (`values`), else with random values from the graph's seed and the layer's name;
               an initializer with its own seed keeps it
    dropout    and other noise depend on the graph's seed, the layer's name and the global step: see models.layers
    averages   of batch norms are updated in every step (UPDATE_OPS), except in frozen layers
    softmax    at the end is left out where the task computes it, as is a sigmoid: the copy returns logits
    augmentation in a trained model is left out, too

Regularizers are not copied: use train.weight_decay. Files are only loaded in Keras' safe mode, which runs no code.
"""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import QatbuildError, StageError
from qatbuild.worker.models import keras_operation, keras_refusals, last_activation, matching, scaling_layers
from qatbuild.worker.models.keras_files import Loaded

v1 = tf.compat.v1
_UPDATES = frozenset({"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"})
_MOVING = ("moving_mean", "moving_variance")
_NOISE_STATE = "seed_generator_state"
Inputs = Mapping[str, tf.Tensor]
Result = TypeVar("Result")


def called(build: Callable[[Inputs], object], inputs: Inputs) -> object:
    """Returns the result of a function of inputs that may use layers of Keras, with names that depend on it alone.

    Keras updates the moving averages of a batch norm without noting it: UPDATE_OPS gets these assignments.
    """

    def result() -> object:
        with _graph(inputs).as_default() as graph:
            before = len(graph.get_operations())
            value = build(inputs)
            noted = {each.name for each in v1.get_collection(v1.GraphKeys.UPDATE_OPS)}
            for each in graph.get_operations()[before:]:
                moves = each.type in _UPDATES and each.inputs[0].op.name.endswith(_MOVING)
                if moves and not each.name.endswith("/Assign") and each.name not in noted:
                    v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, each)
            return value

    return elsewhere(result)


def drafted(build: Callable[[Inputs], object], inputs: Inputs) -> keras.Model | None:
    """Returns the Keras model that a function of inputs returns; None if it returns something else.

    The function is called with inputs of the same shapes in a temporary graph; the model is only read for its layers.
    StageError if the function loads weights into the model, because they would be lost.
    """

    def draft() -> keras.Model | None:
        with tf.Graph().as_default() as graph:
            v1.set_random_seed(_graph(inputs).seed or 0)
            v1.train.get_or_create_global_step()
            names = ["input"] if len(inputs) == 1 else map(keras_operation.plain, inputs)
            drafts = {
                key: v1.placeholder(each.dtype, each.shape, name=name)
                for name, (key, each) in zip(names, inputs.items(), strict=True)
            }
            result = build(drafts)
            if not keras_refusals.is_keras(result):
                return None
            if isinstance(result, keras.Sequential) and not result.built and len(inputs) == 1:
                (images,) = inputs.values()
                result.build((None, *images.shape[1:]))
            keras_refusals.check(result, "the function's result")
            initial = {variable.initializer.name for variable in v1.global_variables()}
            loads = [each for each in graph.get_operations() if each.type in _UPDATES and each.name not in initial]
            if loads:
                raise keras_refusals.loaded_weights(loads)
            return result

    drawn = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        return elsewhere(lambda: _without_variables(draft))
    except Exception:  # noqa: BLE001  It makes its variables another way, or fails again below.
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])  # noqa: NPY002
        return elsewhere(draft)


def _without_variables(draft: Callable[[], keras.Model | None]) -> keras.Model | None:
    """Returns a drafted model whose variables have names, shapes and initializers, but no place in a graph.

    Making them takes most of the time of a draft. StageError if one of them gets a value. For a thread that then ends:
    the scope is never left, which would make the variables after all.
    """
    scope = contextlib.ExitStack().enter_context(keras.StatelessScope())
    model = draft()
    if model is not None and scope.state_mapping:
        raise StageError("A draft has values.")
    return model


def build(inputs: Inputs, model: keras.Model, ends: Mapping[str, str], *, training: bool) -> dict[str, tf.Tensor]:
    """Copies the model into the graph of the inputs, float32 [batch, ...]; returns its outputs by name, float32.

    `ends` has the wanted outputs, each with the activation that is left out at its end: "softmax", "sigmoid" or "".
    Names are those of the model's dictionaries or layers. StageError if it lacks one of the names, cannot take inputs
    of these shapes, or has layers that a network must not have (keras_refusals).
    """

    def copied() -> dict[str, tf.Tensor]:
        with _graph(inputs).as_default(), _plain_errors():
            return _Copy(inputs, model).outputs(ends, training=training)

    return elsewhere(copied)


def values(loaded: Loaded, inputs: Inputs) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the initial values of a copy's variables by name; adds the copy to the graph of the inputs."""

    def copied() -> _Copy:
        with _graph(inputs).as_default(), _plain_errors():
            return _Copy(inputs, loaded.model)

    copy = elsewhere(copied)
    of_file = zip(loaded.model.variables, loaded.values, strict=True)
    trained = [value for each, value in of_file if each.name != _NOISE_STATE]
    return {each.value.op.name: value for each, value in zip(_without_noise(copy.model), trained, strict=True)}


def _graph(inputs: Inputs) -> tf.Graph:
    return next(iter(inputs.values())).graph


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Lets Keras raise errors as they are, which it else replaces by others with a description of all arguments."""
    replaces = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if replaces:
            keras.config.enable_traceback_filtering()


def elsewhere(function: Callable[[], Result]) -> Result:
    """Calls a function in a thread of its own, and returns its result.

    No graph is active in a new thread, and Keras, which numbers the names of each thread, begins at 1: so names do not
    depend on what the process has built before, also those of the layers inside a layer.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


@dataclass
class _Copy:
    """The copy of a model in the graph of its inputs."""

    inputs: Inputs
    source: keras.Model
    _prefixes: list[str] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.sources = self._sources()
        self.graph = _graph(self.inputs)
        self.scope = keras_operation.plain(self.source.name).lstrip("_-") or "model"
        if self.graph.unique_name(self.scope, mark_as_used=False) != self.scope:
            hint = "give the model another name"
            raise StageError("A Keras model has a name that the graph needs.", [("name", self.source.name)], hint)
        for each in _models(self.source):
            each.compiled = False  # a copy would get an optimizer too
            each.name = keras_operation.plain(each.name)  # and this name, for a scope
        with tf.variable_creator_scope(self._create), v1.name_scope(f"{self.scope}/keras"):
            self.model = keras.models.clone_model(self.source, clone_function=self._operation, recursive=True)
        self._sort_out_collections()

    def _sources(self) -> list[tf.Tensor]:
        """Returns the inputs in the model's own order; StageError if names or shapes differ."""
        title, names = keras_refusals.described(self.source), _names(self.source, "input")
        there = dict(zip(names, self.source.inputs, strict=True))
        matching.require_all(list(self.inputs), names, title)
        ends = matching.matched(list(self.inputs), there, "inputs", title)
        for name, end in ends.items():
            keras_refusals.check_shape(self.source, name, end, self.inputs[name])
        by_end = {id(end): self.inputs[name] for name, end in ends.items()}
        return [by_end[id(end)] for end in self.source.inputs]

    def outputs(self, ends: Mapping[str, str], *, training: bool) -> dict[str, tf.Tensor]:
        """Calls the copy; returns the outputs that `ends` names, each without the activation that it has there."""
        if training:
            v1.train.get_or_create_global_step()
        before = len(self.graph.get_operations())
        with v1.name_scope(f"{self.scope}/"):
            try:
                outputs = self.model(self._arguments(), training=training)
            except (TypeError, ValueError) as fault:  # Keras' own checks between the layers
                raise keras_refusals.not_computed(self.source, fault) from fault
        made = self.graph.get_operations()[before:]
        keras_refusals.check_randomness(made)
        if training:
            for update in made:
                if update.type in _UPDATES:
                    v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, update)
        names = _names(self.source, "output")
        there = dict(zip(names, keras.tree.flatten(outputs), strict=True))
        wanted = matching.matched(list(ends), there, "outputs", keras_refusals.described(self.source))
        return {name: self._without(ends[name], tensor) for name, tensor in wanted.items()}

    def _arguments(self) -> Any:
        """Returns the inputs as the model takes them: a tensor, a list or a dictionary."""
        if isinstance(self.model, keras.Sequential):
            return self.sources[0]
        return keras.tree.pack_sequence_as(self.model.input, self.sources)

    def _without(self, end: str, tensor: tf.Tensor) -> tf.Tensor:
        """Returns what an activation at the end of an output reads; the output itself if it ends otherwise."""
        keras_refusals.check_output(last_activation.last_operation(tensor), self.source, end)
        return last_activation.without(tensor, end)

    def _operation(self, operation: keras.Operation) -> keras.Operation:
        """Copies a layer without its variables, or an operation on tensors such as x + y, with its name as scope."""
        name = self._free(operation.name)
        if not isinstance(operation, keras.Layer):
            copy = keras_operation.same(operation, name)
            copy.call = self._inside(self._with_constants(operation, copy.call), f"{self.scope}/{name}/", operation)
            keras_operation.note(self.graph, f"{self.scope}/{name}", operation)
            return copy
        if keras_refusals.augments(operation):
            return keras.layers.Identity(name=name)
        copy = keras_operation.again(operation, name, self.graph.seed or 0)
        keras_operation.note(self.graph, f"{self.scope}/{name}", operation)
        if hasattr(copy, "seed_generator"):
            # Bypasses Keras, which would keep the generator's state as a variable.
            object.__setattr__(copy, "seed_generator", keras_operation.StepSeeds(f"{self.scope}/{name}"))
        if scaling_layers.scales(operation):
            copy.call = scaling_layers.with_constants(operation)
        for method in ("build", "call"):
            setattr(copy, method, self._inside(getattr(copy, method), f"{self.scope}/{name}/", operation))
        return copy

    def _with_constants(self, operation: keras.Operation, call: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps a call so that it reads constants of this graph, not of the one in which the user's function ran."""

        def constant(value: Any) -> Any:
            if isinstance(value, keras.Variable):
                raise keras_refusals.foreign_value(operation, value.name)
            # Keras also calls it in graphs of its own, to find the shape of its result.
            if not tf.is_tensor(value) or getattr(value, "graph", None) is v1.get_default_graph():
                return value
            number = value.numpy() if isinstance(value, tf.__internal__.EagerTensor) else tf.get_static_value(value)
            if number is None:
                raise keras_refusals.foreign_value(operation, value.name)
            return tf.constant(number, value.dtype)

        def with_constants(*arguments: Any, **named: Any) -> Any:
            return call(*tf.nest.map_structure(constant, arguments), **tf.nest.map_structure(constant, named))

        return with_constants

    def _inside(self, method: Callable[..., Any], prefix: str, operation: keras.Operation) -> Callable[..., Any]:
        """Wraps a method so that its operations and variables get the name scope `prefix`, and its errors its name."""

        @functools.wraps(method)
        def inside(*arguments: Any, **named: Any) -> Any:
            self._prefixes.append(prefix)
            try:
                with v1.name_scope(prefix):
                    return method(*arguments, **named)
            except QatbuildError:
                raise
            except Exception as fault:
                raise keras_refusals.not_computed(operation, fault) from fault
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
        wanted = name = keras_operation.plain(name)
        number = 0
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name

    def _sort_out_collections(self) -> None:
        """Removes frozen variables from the trainable ones, and generator states from all collections."""
        pairs = zip(_without_noise(self.source), _without_noise(self.model), strict=True)
        frozen = {copy.value.op.name for source, copy in pairs if not source.trainable}
        trainable = self.graph.get_collection_ref(v1.GraphKeys.TRAINABLE_VARIABLES)
        trainable[:] = [variable for variable in trainable if variable.op.name not in frozen]
        # Also those of layers that a layer was copied from when it was made, as in Bidirectional.
        all_of_them = self.graph.get_collection_ref(v1.GraphKeys.GLOBAL_VARIABLES)
        all_of_them[:] = [each for each in all_of_them if not each.op.name.endswith(f"/{_NOISE_STATE}")]


def _names(model: keras.Model, kind: str) -> list[str]:
    """Returns the names of a model's "input" or "output" ends: the keys of its dictionary, else those of the layers."""
    tensors = getattr(model, f"{kind}s")
    form = None if isinstance(model, keras.Sequential) else getattr(model, kind)  # One that was never called has none.
    if isinstance(form, dict) and len(form) == len(tensors):
        return sorted(form)
    names: list[str] = []
    for each in tensors:
        name = each._keras_history.operation.name  # noqa: SLF001
        number = names.count(name)
        names.append(f"{name}_{number}" if number else name)
    return names


def _without_noise(model: keras.Model) -> list[keras.Variable]:
    """Returns a model's variables without the states of random generators, which a copy may lack."""
    return [each for each in model.variables if each.name != _NOISE_STATE]


def _models(model: keras.Model) -> Iterator[keras.Model]:
    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _models(layer)
