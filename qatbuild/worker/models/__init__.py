"""Networks as plain functions of tensors.

A network is a function `network(images, classes, *, training, **options) -> logits`:

    images   float32 [batch, height, width, channels], real values, that is (byte - mean) / std_dev
    classes  how many logits an image gets
    training whether dropout is there; an inference graph has no trace of it
    logits   float32 [batch, classes], before softmax

A shipped network lives in the module of its own name, so that an edit of one network leaves the others' digests
alone. A network of the user's is named "package.module:function" and imported from the project; it may return a Keras 3
model instead. Files of Keras (keras_model) and meta graphs of TensorFlow 1 (meta_graph) are networks too.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import QatbuildError, StageError

_PARTS = ("keras_model", "keras_refusals", "layers", "meta_graph")


def build(images: tf.Tensor, classes: int, *, training: bool, model: Mapping[str, Any]) -> tf.Tensor:
    """Add a network to the default graph and return its logits, float32 [batch, classes].

    `images` is float32 [batch, height, width, channels]; `model` is {"name": ...} or {"call": "module:function"},
    each with optional "options", {"keras": path}, or {"meta_graph": path, "input": tensor, "logits": tensor}.
    StageError if there is no such network, it does not know an option, cannot take images of this shape, or returns
    something else than logits.
    """
    if "keras" in model:
        foreign = _part("keras_model")
        logits = foreign.build(images, foreign.load(Path(model["keras"])).model, training=training)
    elif "meta_graph" in model:
        path, names = Path(model["meta_graph"]), {"source": model["input"], "logits": model["logits"]}
        logits = _part("meta_graph").build(images, path, **names)
    else:
        logits = _called(images, classes, training=training, model=model)
    _check_logits(logits, classes, model)
    return logits


def initial(shape: tuple[int, int, int], model: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]] | None:
    """What the network's variables begin with where its own file says so, by their names; None where none does.

    `shape` is [height, width, channels] of the images.
    """
    if "keras" not in model:
        return None
    foreign = _part("keras_model")
    with tf.Graph().as_default():
        images = tf.compat.v1.placeholder(tf.float32, [None, *shape])
        values: dict[str, np.ndarray[Any, Any]] = foreign.values(foreign.load(Path(model["keras"])), images)
    return values


def _called(images: tf.Tensor, classes: int, *, training: bool, model: Mapping[str, Any]) -> tf.Tensor:
    """What a shipped function or the user's returns."""
    function = _function(model)
    options = dict(model.get("options") or {})
    _check_options(function, options, model)

    def network(images: tf.Tensor) -> Any:
        try:
            return function(images, classes, training=training, **options)
        except QatbuildError:
            raise
        except Exception as fault:
            if "call" not in model:
                raise
            raise _failed(model, fault) from fault

    if "call" in model:
        foreign = _part("keras_model")
        drawn = random.getstate(), np.random.get_state()  # noqa: NPY002  The function may draw from both.
        drafted = foreign.drafted(network, images)
        if drafted is not None:
            return foreign.build(images, drafted, training=training)
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])  # noqa: NPY002
    return network(images)


def _part(name: str) -> ModuleType:
    """A module of this package that not every network needs: whoever plans a build names those that one does."""
    return importlib.import_module(f"{__name__}.{name}")


def _failed(model: Mapping[str, Any], fault: Exception) -> StageError:
    """The user's own function failed: where, and how; the traceback is in the log."""
    last = traceback.extract_tb(fault.__traceback__)
    module = str(_module(model)[0].__file__)
    own = [frame for frame in last if frame.filename == module] or last
    facts: list[tuple[str, object]] = [
        ("model.call", model["call"]),
        ("at", f"{Path(own[-1].filename).name}:{own[-1].lineno}: {own[-1].line}"),
        ("raised", f"{type(fault).__name__}: {fault}"),
    ]
    return StageError(
        "The network's function failed.", facts, "It is called as function(images, classes, training=..., **options)."
    )


def predict(logits: tf.Tensor) -> tf.Tensor:
    """Softmax of logits: float32 [batch, classes] in 0..1, the op <Scope>/Predictions/Softmax.

    A rewrite of the graph re-wires consumers, not Python handles: afterwards `predict(logits).op.inputs[0]` is the
    fake-quantized tensor of logits, while `logits` is still the float one.
    """
    scope, slash, _ = logits.op.name.partition("/")
    name = f"{scope}/Predictions/Softmax" if slash else "Predictions/Softmax"
    with tf.name_scope(""):
        return tf.nn.softmax(logits, name=name)


def cures(model: Mapping[str, Any]) -> Mapping[str, str]:
    """What to write in a spec against an operation that integers cannot do: op type -> text, as the module says."""
    if not {"name", "call"} & set(model):
        return {}
    known: Mapping[str, str] = getattr(_module(model)[0], "CURES", {})
    return known


def title(model: Mapping[str, Any]) -> str:
    """How people are told which network: its name, the function it is, or its file's name."""
    if not {"name", "call"} & set(model):
        return Path(model.get("keras") or model["meta_graph"]).name
    return str(model.get("name") or model.get("call"))


def shipped() -> list[str]:
    """The names of the shipped networks, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _PARTS)


def _module(model: Mapping[str, Any]) -> tuple[ModuleType, str]:
    """The module of a network and the name of its function there."""
    if "name" in model:
        name = str(model["name"])
        if name not in shipped():
            raise StageError("There is no such network.", [("network", name), ("there are", ", ".join(shipped()))])
        return importlib.import_module(f"{__name__}.{name}"), name
    call = str(model.get("call"))
    path, colon, function = call.partition(":")
    if not (path and colon and function):
        raise StageError("A network function is not named as package.module:function.", [("model.call", call)])
    try:
        return importlib.import_module(path), function
    except ImportError as fault:
        facts: list[tuple[str, object]] = [("model.call", call), ("reason", fault)]
        raise StageError("The module of a network function cannot be imported.", facts, _WHERE) from fault


_WHERE = "Modules are imported from the project's root: package.module is package/module.py beside pyproject.toml."


def _function(model: Mapping[str, Any]) -> Callable[..., tf.Tensor]:
    module, name = _module(model)
    function = getattr(module, name, None)
    if not callable(function):
        there = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        facts: list[tuple[str, object]] = [
            ("module", module.__name__),
            ("function", name),
            ("there are", ", ".join(there) or "none"),
        ]
        raise StageError("The module of a network has no such function.", facts)
    return function


def _check_options(function: Callable[..., tf.Tensor], options: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    known = [name for name in list(parameters)[2:] if name != "training"]
    for option in options:
        if option not in known:
            facts: list[tuple[str, object]] = [("network", title(model)), ("option", option)]
            facts.append(("it has", ", ".join(known) or "none"))
            raise StageError("The network has no such option.", facts)


def _check_logits(logits: Any, classes: int, model: Mapping[str, Any]) -> None:
    if not tf.is_tensor(logits):
        got = type(logits).__name__
    elif logits.dtype == tf.float32 and logits.shape.rank == 2 and logits.shape[1] == classes:  # noqa: PLR2004
        return
    else:
        got = f"{logits.dtype.name} tensor {'?' if logits.shape.rank is None else logits.shape.as_list()}"
    wanted = f"float32 tensor [batch, {classes}]"
    facts: list[tuple[str, object]] = [("network", title(model)), ("wanted", wanted), ("got", got)]
    raise StageError("The network did not return logits.", facts)
