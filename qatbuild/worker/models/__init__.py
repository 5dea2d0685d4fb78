"""Networks as plain functions of tensors.

A network is a function `network(images, classes, *, training, **options) -> logits`:

    images   float32 [batch, height, width, channels], real values (byte - mean) / std_dev
    classes  number of logits per image
    training whether the graph is for training; only then it has dropout
    logits   float32 [batch, classes], before softmax

Each shipped network is a module of its name, so that an edit of one network does not change the digests of the others.
A function of the user, "package.module:function", is imported from the project; it may return a Keras 3 model instead
of logits. Keras files (keras_model) and meta graphs of TensorFlow 1 (meta_graph) are networks, too.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
import random
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import QatbuildError, StageError
from qatbuild.exchange.networks import Called, KerasFile, MetaGraph, Network, Shipped

_PARTS = (
    "keras_2_graphs", "keras_files", "keras_layers", "keras_model", "keras_operation", "keras_refusals", "layers",
    "meta_graph", "scaling_layers",
)  # fmt: skip


def build(images: tf.Tensor, classes: int, network: Network, *, training: bool) -> tf.Tensor:
    """Add a network to the default graph and return its logits, float32 [batch, classes].

    `images` is float32 [batch, height, width, channels]. StageError if the network does not exist, lacks an option,
    cannot take images of this shape, or does not return logits.
    """
    with _inlined_functions():
        logits = _logits(images, classes, network, training=training)
    _check_logits(logits, classes, network)
    return logits


def _logits(images: tf.Tensor, classes: int, network: Network, *, training: bool) -> tf.Tensor:
    match network:
        case KerasFile(path):
            model = _part("keras_files").load(path).model
            return _part("keras_model").build(images, model, training=training)
        case MetaGraph(path, source, end):
            return _part("meta_graph").build(images, path, source=source, logits=end)
        case Called():
            return _called(images, classes, network, training=training)
        case Shipped():
            return _function(network)(images, classes, training=training, **network.options)


@contextlib.contextmanager
def _inlined_functions() -> Iterator[None]:
    """Let a tf.function add its operations to the graph itself, where they are seen, instead of a call.

    Keras wraps some of its own operations in one, such as a convolution in groups.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(run_eagerly=True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def initial(shape: tuple[int, int, int], network: Network) -> dict[str, np.ndarray[Any, Any]] | None:
    """Return the trained values of a network's variables by name; None unless a file of the network holds them.

    `shape` is [height, width, channels] of the images.
    """
    if not isinstance(network, KerasFile):
        return None
    loaded = _part("keras_files").load(network.path)
    with tf.Graph().as_default(), _inlined_functions():
        images = tf.compat.v1.placeholder(tf.float32, [None, *shape])
        values: dict[str, np.ndarray[Any, Any]] = _part("keras_model").values(loaded, images)
    return values


def _called(images: tf.Tensor, classes: int, network: Called, *, training: bool) -> tf.Tensor:
    """Call the user's function; return the logits, also for a Keras model that the function returns."""
    function = _function(network)

    def result(images: tf.Tensor) -> Any:
        try:
            return function(images, classes, training=training, **network.options)
        except QatbuildError:
            raise
        except Exception as fault:
            raise _failed(network, fault) from fault

    keras_model = _part("keras_model")
    drawn = random.getstate(), np.random.get_state()  # noqa: NPY002  The function may use both generators.
    drafted = keras_model.drafted(result, images)
    if drafted is not None:
        return keras_model.build(images, drafted, training=training)
    random.setstate(drawn[0])
    np.random.set_state(drawn[1])  # noqa: NPY002
    return keras_model.called(result, images)


def _part(name: str) -> ModuleType:
    """Import a module of this package that only some networks need; the plan lists it for those networks."""
    return importlib.import_module(f"{__name__}.{name}")


def _failed(network: Called, fault: Exception) -> StageError:
    """Return the error of a function of the user that raised an exception; the traceback is in the log."""
    last = traceback.extract_tb(fault.__traceback__)
    module = str(_module(network)[0].__file__)
    inside = [frame for frame in last if frame.filename == module]
    own = inside or last
    facts = [
        ("model.call", network.call),
        ("at", f"{Path(own[-1].filename).name}:{own[-1].lineno}: {own[-1].line}"),
        ("raised", f"{type(fault).__name__}: {fault}"),
    ]
    hint = "" if inside else "It is called as function(images, classes, training=..., **options)."
    return StageError("The network's function failed.", facts, hint)


def predict(logits: tf.Tensor) -> tf.Tensor:
    """Return softmax of the logits: float32 [batch, classes] in 0..1, the op <Scope>/Predictions/Softmax.

    A rewrite of the graph re-wires consumers, not Python handles: afterwards `predict(logits).op.inputs[0]` is the
    fake-quantized tensor of logits, while `logits` is still the float one.
    """
    scope, slash, _ = logits.op.name.partition("/")
    name = f"{scope}/Predictions/Softmax" if slash else "Predictions/Softmax"
    with tf.name_scope(""):
        return tf.nn.softmax(logits, name=name)


def hints(network: Network) -> Mapping[str, str]:
    """Return the table HINTS of a network's module: type of an operation without integer form -> hint for the user."""
    if not isinstance(network, Shipped | Called):
        return {}
    texts: Mapping[str, str] = getattr(_module(network)[0], "HINTS", {})
    return texts


def shipped() -> list[str]:
    """Return the names of the shipped networks, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _PARTS)


def _module(network: Shipped | Called) -> tuple[ModuleType, str]:
    """Return (module of a network, name of its function there)."""
    if isinstance(network, Shipped):
        if network.name not in shipped():
            facts = [("network", network.name), ("there are", ", ".join(shipped()))]
            raise StageError("The network does not exist.", facts)
        return importlib.import_module(f"{__name__}.{network.name}"), network.name
    path, colon, function = network.call.partition(":")
    if not (path and colon and function):
        raise StageError("A network function must be written package.module:function.", [("model.call", network.call)])
    try:
        return importlib.import_module(path), function
    except ImportError as fault:
        facts = [("model.call", network.call), ("reason", str(fault))]
        hint = _WHERE if f"{path}.".startswith(f"{fault.name}.") else ""  # Not for a package that the module imports.
        raise StageError("The module of a network function cannot be imported.", facts, hint) from fault


_WHERE = (
    "Modules are imported from the project's root: package.module is package/module.py in the folder of pyproject.toml."
)


def _function(network: Shipped | Called) -> Callable[..., tf.Tensor]:
    """Return the function of a network; StageError if it does not exist or lacks one of the options."""
    module, name = _module(network)
    function = getattr(module, name, None)
    if not callable(function):
        there = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        facts = [
            ("module", module.__name__),
            ("function", name),
            ("there are", ", ".join(there) or "none"),
        ]
        raise StageError("The module of a network has no such function.", facts)
    _check_options(function, network)
    return function


def _check_options(function: Callable[..., tf.Tensor], network: Shipped | Called) -> None:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    names = [name for name in list(parameters)[2:] if name != "training"]
    for option in network.options:
        if option not in names:
            facts = [("network", network.title), ("option", option), ("it has", ", ".join(names) or "none")]
            raise StageError("The network has no such option.", facts)


def _check_logits(logits: Any, classes: int, network: Network) -> None:
    if not tf.is_tensor(logits):
        got = type(logits).__name__
    elif logits.dtype == tf.float32 and logits.shape.rank == 2 and logits.shape[1] == classes:  # noqa: PLR2004
        return
    else:
        shape = logits.shape.as_list() if logits.shape.rank is not None else "?"
        got = f"{logits.dtype.name} tensor {shape}"
    wanted = f"float32 tensor [batch, {classes}]"
    facts = [("network", network.title), ("wanted", wanted), ("got", got)]
    raise StageError("The network did not return logits.", facts)
