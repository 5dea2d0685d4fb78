"""The graphs of models in Keras 2 files, written as Keras 3 reads them.

Keras 2 notes a layer's inputs as [layer, call, output, arguments], and counts the calls of a model inside a model from
1, since the model itself is its first. It writes `x + y` and tf.nn.relu(x) as layers of class TFOpLambda and slices as
SlicingOpLambda, with the name of a function of TensorFlow; other inputs of the function are among its arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from qatbuild.exchange.errors import StageError

_MODULES = frozenset({"math", "nn", "image", "linalg", "__operators__"})
"""Modules whose functions compute values of values, and nothing else: a file must not run code or read files."""
_FUNCTIONS = frozenset({
    "argmax", "argmin", "argsort", "batch_to_space", "boolean_mask", "broadcast_to", "cast", "clip_by_value",
    "concat", "constant", "convert_to_tensor", "cumsum", "depth_to_space", "einsum", "ensure_shape", "expand_dims",
    "eye", "fill", "gather", "gather_nd", "identity", "norm", "one_hot", "ones", "ones_like", "pad", "range", "rank",
    "realdiv", "repeat", "reshape", "reverse", "roll", "saturate_cast", "searchsorted", "shape", "size", "slice",
    "sort", "space_to_batch", "space_to_depth", "split", "squeeze", "stack", "stop_gradient", "strided_slice",
    "tensor_scatter_nd_update", "tensordot", "tile", "transpose", "unstack", "where", "zeros", "zeros_like",
})  # fmt: skip
_OPERATIONS = frozenset({"TFOpLambda", "SlicingOpLambda"})
_OTHER_OPERATIONS = frozenset({"TensorFlowOpLayer", "ClassMethod", "InstanceMethod", "InstanceProperty"})
_CONSTANT = "_CONSTANT_VALUE"
_ELLIPSIS = "..."


class TFOpLambda(keras.Operation):  # type: ignore[misc]
    """A function of TensorFlow as an operation between the layers of a model."""

    def __init__(self, function: str, name: str, **_settings: Any) -> None:
        """Takes the function's name without "tf.", such as math.add; ValueError if files may not name it."""
        super().__init__(name=name)
        self.function = _function(function)
        if self.function is None:
            raise ValueError(f"tf.{function} is not read from files")

    def call(self, *inputs: Any, **arguments: Any) -> Any:
        """Calls the function; the operation's own name takes the place of a name among the arguments."""
        arguments.pop("name", None)
        if "slice_spec" in arguments:
            arguments["slice_spec"] = tf.nest.map_structure(_ellipsis, arguments["slice_spec"])
        return self.function(*inputs, **arguments)  # type: ignore[misc]  # not None: see __init__


CLASSES = dict.fromkeys(_OPERATIONS, TFOpLambda)
"""The classes that these files name and Keras 3 lacks."""


def refuse_unread(config: Any) -> None:
    """Raises StageError if a configuration has operations of TensorFlow that are not read."""
    unread = list(_unread(config))
    if unread:
        hint = (
            "Build the model once more with Keras 3, with keras.ops in place of these functions, load the weights of"
            ' this file (model.load_weights), save it (model.save("net.keras")) and name that file.'
        )
        raise StageError("The Keras 2 file has operations of TensorFlow that cannot be read.", unread, hint)


def rewrite(model: dict[str, Any]) -> None:
    """Writes the calls of all layers of a functional model's configuration as Keras 3 does, in place."""
    layers = model["layers"]
    if not any(isinstance(node, list) for layer in layers for node in layer.get("inbound_nodes", [])):
        return
    _rename(model)
    calls_before = {each["name"]: int(_starts_with_a_call(each)) for each in layers}
    for layer in layers:
        operation = layer["class_name"] in _OPERATIONS
        if operation:
            layer.pop("build_config", None)
        nodes = layer["inbound_nodes"]
        layer["inbound_nodes"] = [_call(node, calls_before, keep_lists=operation) for node in nodes]
    for output in _leaves(model.get("output_layers")):
        # Keras 3 itself subtracts the first call of a functional model, but not that of a sequential one.
        kind = next(each["class_name"] for each in layers if each["name"] == output[0])
        output[1] -= calls_before[output[0]] if kind == "Sequential" else 0


def _rename(model: dict[str, Any]) -> None:
    """Replaces "/" in the names of layers, which Keras 3 refuses, in place; names stay unique."""
    layers, new = model["layers"], {}
    taken = {each["name"] for each in layers}
    for layer in layers:
        name = layer["name"].replace("/", "_")
        while name != layer["name"] and name in taken:
            name += "_"
        taken.add(name)
        new[layer["name"]] = layer["name"] = layer["config"]["name"] = name
    calls = [each["inbound_nodes"] for each in layers]
    for leaf in _leaves([model.get("input_layers"), model.get("output_layers"), calls]):
        leaf[0] = new.get(leaf[0], leaf[0])


def _call(node: Any, calls_before: Mapping[str, int], *, keep_lists: bool) -> Any:
    """Returns the arguments of one call of a layer, {"args": [...], "kwargs": {...}}."""
    if not isinstance(node, list) or not node:
        return node
    named: dict[str, Any] = {}

    def value(each: Any) -> Any:
        if _is_leaf(each):
            name, call, output, *more = each
            named.update(*more)
            return output if name == _CONSTANT else _tensor(name, call - calls_before.get(name, 0), output)
        if isinstance(each, list):
            return [value(one) for one in each]
        if not isinstance(each, dict):
            return each
        if each.get("class_name") in {"__tuple__", "TensorShape"}:
            return value(each["items"])
        if each.get("class_name") == "__ellipsis__":
            return _ELLIPSIS
        inner = {key: value(one) for key, one in each.items()}
        return {"class_name": "__slice__", "config": inner} if set(each) == {"start", "stop", "step"} else inner

    first = value(node)
    if isinstance(first, list) and len(first) == 1 and not keep_lists:
        (first,) = first
    arguments, named = dict(named), {}
    return {"args": [first], "kwargs": {key: value(each) for key, each in arguments.items()}}


def _ellipsis(bound: Any) -> Any:
    return ... if isinstance(bound, str) and bound == _ELLIPSIS else bound


def _tensor(layer: str, call: int, output: int) -> dict[str, Any]:
    # Keras reads the history alone; shape and type are those of the call.
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [], "dtype": "float32", "keras_history": [layer, call, output]},
    }


def _is_leaf(each: Any) -> bool:
    return isinstance(each, list) and len(each) in {3, 4} and isinstance(each[0], str) and isinstance(each[1], int)


def _leaves(each: Any) -> Iterator[list[Any]]:
    if _is_leaf(each):
        yield each
        yield from _leaves(each[3:])
    elif isinstance(each, list | dict):
        for one in each.values() if isinstance(each, dict) else each:
            yield from _leaves(one)


def _starts_with_a_call(layer: Mapping[str, Any]) -> bool:
    """Returns whether Keras 2 counts a layer's own making as its first call: a model that begins with an input."""
    inner = layer["config"].get("layers") or [{}]
    return inner[0].get("class_name") == "InputLayer"


def _unread(config: Any) -> Iterator[tuple[str, str]]:
    if isinstance(config, list):
        for each in config:
            yield from _unread(each)
    elif isinstance(config, dict):
        kind, settings = config.get("class_name"), config.get("config")
        if isinstance(settings, dict):
            name = str(settings.get("name"))
            if kind in _OPERATIONS and _function(settings.get("function")) is None:
                yield name, f"{kind}: tf.{settings.get('function')}"
            elif kind in _OTHER_OPERATIONS:
                yield name, str(kind)
        for each in config.values():
            yield from _unread(each)


def _function(name: object) -> Callable[..., Any] | None:
    """Returns the function of TensorFlow of this name, such as nn.relu or compat.v1.pad, if files may name it."""
    version_1 = str(name).startswith("compat.v1.")
    module, _, function = str(name).removeprefix("compat.v1.").rpartition(".")
    if function.startswith("_") or not (module in _MODULES or (not module and function in _FUNCTIONS)):
        return None
    home: Any = tf.compat.v1 if version_1 else tf
    named = getattr(getattr(home, module, None) if module else home, function, None)
    return named if inspect.isfunction(named) else None
