"""Network functions: those of the shipped networks, and the user's own, "package.module:function".

They are called as function(inputs, outputs, *, training, **options): see qatbuild.worker.models.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.errors import QatbuildError, StageError
from qatbuild.exchange.networks import Called, Shipped
from qatbuild.worker.models import last_activation, matching

_PACKAGE = "qatbuild.worker.models"
_PARTS = frozenset({
    "called_functions", "foreign_files", "frozen_graph", "functions", "graph_cut", "graph_network", "graph_refusals",
    "keras_2_graphs", "keras_files", "keras_layers", "keras_model", "keras_operation", "keras_refusals", "layers",
    "last_activation", "matching", "meta_graph", "saved_model", "scaling_layers", "unrolled_loops",
})  # fmt: skip
_WHERE = (
    "Modules are imported from the project's root: package.module is package/module.py in the folder of pyproject.toml."
)

Inputs = Mapping[str, tf.Tensor]
Sizes = Mapping[str, int | None]


def shipped() -> list[str]:
    """Returns the names of the shipped networks, sorted."""
    there = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in there if module.name not in _PARTS)


def build_shipped(inputs: Inputs, sizes: Sizes, network: Shipped, *, training: bool) -> dict[str, tf.Tensor]:
    """Adds a shipped network to the default graph, and returns its outputs by name."""
    for kind, names in (("inputs", inputs), ("outputs", sizes)):
        if len(names) != 1:
            facts = [("network", network.title), (f"{kind} of the spec", ", ".join(names))]
            hint = 'Write a network with several in a function of the project, and name it: "model": {"call": ...}'
            raise StageError("The shipped networks have one input and one output.", facts, hint)
    (output,) = sizes
    if sizes[output] is None:
        facts = [("network", network.title), ("output", output)]
        hint = 'Leave "labels": false out of the dataset'
        raise StageError("Data without labels do not say how many classes the network has.", facts, hint)
    return {output: function(network)(_lone(inputs), sizes[output], training=training, **network.options)}


def build_called(
    inputs: Inputs, sizes: Sizes, network: Called, ends: Mapping[str, str], *, training: bool
) -> dict[str, tf.Tensor]:
    """Calls the user's function; returns the outputs by name, also of a Keras model that the function returns.

    `ends` has the activation that each output is to be without, "softmax" or "sigmoid", which the task computes; or "".
    """
    called = function(network)

    def result(inputs: Inputs) -> Any:
        try:
            return called(_lone(inputs), _lone(sizes), training=training, **network.options)
        except QatbuildError:
            raise
        except Exception as fault:
            raise _failed(network, fault, inputs, sizes) from fault

    keras_model = importlib.import_module(f"{_PACKAGE}.keras_model")  # Only some networks need it.
    drawn = random.getstate(), np.random.get_state()  # noqa: NPY002  The function may use both generators.
    drafted = keras_model.drafted(result, inputs)
    if drafted is not None:
        outputs: dict[str, tf.Tensor] = keras_model.build(inputs, drafted, ends, training=training)
        return outputs
    random.setstate(drawn[0])
    np.random.set_state(drawn[1])  # noqa: NPY002
    tensors = _by_name(keras_model.called(result, inputs), list(sizes), network.title)
    return {
        name: last_activation.without(each, ends[name]) if tf.is_tensor(each) else each
        for name, each in tensors.items()
    }


def hints(network: Shipped | Called) -> Mapping[str, str]:
    """Returns the table HINTS of a network's module: type of an operation without integer form -> hint for the user."""
    texts: Mapping[str, str] = getattr(_module(network)[0], "HINTS", {})
    return texts


def function(network: Shipped | Called) -> Callable[..., Any]:
    """Returns the function of a network; StageError if it does not exist or lacks one of the options."""
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


def _lone(values: Mapping[str, Any]) -> Any:
    """Returns the value of a mapping of one, else the mapping."""
    return next(iter(values.values())) if len(values) == 1 else dict(values)


def _by_name(result: Any, names: Sequence[str], title: str) -> dict[str, Any]:
    """Returns what a function returned by name: a dictionary, or the lone output itself."""
    if isinstance(result, Mapping):
        return matching.matched(names, {str(name): value for name, value in result.items()}, "outputs", title)
    if len(names) == 1:
        return {names[0]: result}
    many = isinstance(result, list | tuple)
    got = f"{type(result).__name__} of {len(result)}" if many else type(result).__name__
    facts = [("network", title), ("outputs of the spec", ", ".join(names)), ("got", got)]
    keys = ", ".join(f'"{name}": ...' for name in names)
    raise StageError("A network with several outputs must return them by name.", facts, f"Return {{{keys}}}")


def _failed(network: Called, fault: Exception, inputs: Inputs, sizes: Sizes) -> StageError:
    """Returns the error of a function of the user that raised an exception; the traceback is in the log."""
    frames = traceback.extract_tb(fault.__traceback__)
    module = str(_module(network)[0].__file__)
    inside = [frame for frame in frames if frame.filename == module]
    last = (inside or frames)[-1]
    facts = [
        ("model.call", network.call),
        ("at", f"{Path(last.filename).name}:{last.lineno}: {last.line}"),
        ("raised", f"{type(fault).__name__}: {fault}"),
    ]
    lone = len(inputs) == len(sizes) == 1
    first = "images" if len(inputs) == 1 else f"{{{', '.join(inputs)}}}"
    second = "classes" if len(sizes) == 1 else str(dict(sizes))
    hint = "" if inside and lone else f"It is called as function({first}, {second}, training=..., **options)."
    return StageError("The network's function failed.", facts, hint)


def _module(network: Shipped | Called) -> tuple[ModuleType, str]:
    """Returns (module of a network, name of its function there)."""
    if isinstance(network, Shipped):
        if network.name not in shipped():
            facts = [("network", network.name), ("there are", ", ".join(shipped()))]
            raise StageError("The network does not exist.", facts)
        return importlib.import_module(f"{_PACKAGE}.{network.name}"), network.name
    path, colon, name = network.call.partition(":")
    if not (path and colon and name):
        raise StageError("A network function must be written package.module:function.", [("model.call", network.call)])
    try:
        return importlib.import_module(path), name
    except ImportError as fault:
        facts = [("model.call", network.call), ("reason", str(fault))]
        hint = _WHERE if f"{path}.".startswith(f"{fault.name}.") else ""  # Not for a package that the module imports.
        raise StageError("The module of a network function cannot be imported.", facts, hint) from fault


def _check_options(function: Callable[..., Any], network: Shipped | Called) -> None:
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
