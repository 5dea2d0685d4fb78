"""Keras layers that scale a tensor by constants, Rescaling and Normalization: y = factor x + shift.

Keras' own Normalization divides by what it computes from its variance, which has no integer form. In a copy both layers
are one product and one sum with constants, also where one follows the other; these convert to integers.

At the beginning of a network they scale the images after the spec has done so. That is right where the spec leaves the
bytes as they are, and for what the two share between them; a network that scales twice sees almost one value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.scaling import Scaling

_KEY = "qatbuild/scaling_layers"
_MOVES = frozenset(
    {"Identity", "Pad", "PadV2", "MirrorPad", "Reshape", "Transpose", "StridedSlice", "GatherV2", "ConcatV2", "Cast"}
    | {"Split", "Unpack", "Pack", "ExpandDims", "Squeeze"}
)
"""Operations that leave the values as they are."""

_NARROWEST = 0.25
"""Least width of the real values of the bytes 0..255 in a network: the usual ones are 1, 2, 4 to 5, and 255."""
_BYTES = 255.0
_EPSILON = 1e-7
"""Keras' least standard deviation."""

_LISTED = 8
_NUMBERS = (0.001, 65536.0)
"""The limits of input.std_dev."""


class Affine(NamedTuple):
    """y = factor x + shift; both are float64, a number or of a shape that x is broadcast to, mostly [channels]."""

    factor: NDArray[np.float64]
    shift: NDArray[np.float64]

    def of(self, inner: Affine) -> Affine:
        """Returns the function self(inner(x))."""
        return Affine(self.factor * inner.factor, self.factor * inner.shift + self.shift)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Adds it to the graph of x, float32 [..., channels]."""
        y = x if np.all(self.factor == 1) else x * tf.constant(self.factor, tf.float32)
        y = y if np.all(self.shift == 0) else y + tf.constant(self.shift, tf.float32)
        return tf.identity(x) if y is x else y


class _Scaled(NamedTuple):
    """`result` is `affine` of `source`, by one layer or several in a row."""

    source: tf.Tensor
    result: tf.Tensor
    affine: Affine
    layers: tuple[str, ...]


def scales(layer: object) -> bool:
    """Returns whether a Keras layer scales by constants."""
    return _kind(layer) != ""


def with_constants(layer: Any) -> Callable[..., tf.Tensor]:
    """Returns what takes the place of the `call` of a copy of `layer`."""
    affine, name = _affine(layer), layer.name

    def call(x: tf.Tensor, **_: Any) -> tf.Tensor:
        x = tf.cast(x, tf.float32)
        noted: list[_Scaled] = x.graph.get_collection_ref(_KEY)
        inner = next((each for each in noted if each.result.name == x.name), None)
        scaled = _Scaled(x, x, affine, (name,))
        if inner is not None:
            scaled = _Scaled(inner.source, x, affine.of(inner.affine), (*inner.layers, name))
        noted.append(scaled._replace(result=scaled.affine(scaled.source)))
        return noted[-1].result

    return call


def check(name: str, values: tf.Tensor, scaling: Scaling) -> None:
    """Raises StageError if layers scale an input that the spec has scaled already.

    `values` are what the network reads of the input `name`, the real values of bytes by `scaling`.
    """
    rows = [each for each in _outermost(values.graph) if _leads_to(each.source, values)]
    twice = [each for each in rows if _width(each.affine, scaling) < _NARROWEST <= _width(each.affine, Scaling(0, 1))]
    if not twice:
        return
    numbers = ", ".join(f"{field} {_text(np.asarray(each))}" for field, each in scaling.spec.items())
    facts = [("input", f"{name}: {numbers}")]
    facts += [(", ".join(each.layers), _described(each.affine)) for each in twice]
    keep = f'ive the input {name} "mean": 0, "std_dev": 1: the network then gets bytes, and scales them in integers.'
    hint = f"G{keep}"
    fields = _fields(twice[0].affine) if len(twice) == 1 else ""
    if fields:
        hint = f"Leave {' and '.join(twice[0].layers)} out and give the input {name} {fields}; or g{keep}"
    raise StageError("The network scales an input that the spec has scaled already.", facts, hint)


def _fields(affine: Affine) -> str:
    """Returns the fields of an input that say what layers do; '' if the spec cannot say it."""
    mean, std_dev = _numbers(affine)
    takes = np.all((mean >= 0) & (mean <= _BYTES)) and np.all((std_dev >= _NUMBERS[0]) & (std_dev <= _NUMBERS[1]))
    if not takes or max(mean.size, std_dev.size) > _LISTED:
        return ""
    unpadded = "" if mean.size == 1 else " (different means if the first layer does not pad)"
    return f'"mean": {_text(mean)}, "std_dev": {_text(std_dev)}{unpadded}'


def _kind(layer: object) -> str:
    kind = type(layer)  # Not a class of the user's own that is derived from it: it may compute something else.
    is_keras = kind.__module__.partition(".")[0] == "keras"
    return kind.__name__ if is_keras and kind.__name__ in {"Rescaling", "Normalization"} else ""


def _affine(layer: Any) -> Affine:
    if _kind(layer) == "Rescaling":
        return Affine(_array(layer.scale), _array(layer.offset))
    mean, variance = _moments(layer)
    deviation = np.maximum(np.sqrt(variance), _EPSILON)
    if layer.invert:
        return Affine(deviation, mean)
    return Affine(1 / deviation, -mean / deviation)


def _moments(layer: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns mean and variance of a Normalization: its arguments, those of its file, or 0 and 1 if it saw no data."""
    mean, variance = layer.input_mean, layer.input_variance
    if mean is None:
        handle = getattr(layer.adapt_mean.value, "handle", None)
        if not hasattr(handle, "numpy"):  # A variable of the graph of the user's function, or of a draft.
            return np.zeros(()), np.ones(())
        with ThreadPoolExecutor(1) as thread:  # In which no graph is active: variables outside of graphs can be read.
            mean, variance = thread.map(lambda each: each.numpy(), (layer.adapt_mean, layer.adapt_variance))
    # Of several axes, or of one that is not the last, Keras keeps the places of the others as dimensions of 1.
    shape = tuple(layer._broadcast_shape)  # noqa: SLF001
    mean, variance = (
        each if np.size(each) != math.prod(shape) else np.reshape(each, shape) for each in (mean, variance)
    )
    return _array(mean), _array(variance)


def _array(values: Any) -> NDArray[np.float64]:
    """Returns an array without leading dimensions of 1; one number if all are equal."""
    array = np.asarray(values, np.float64)
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return np.asarray(array.flat[0]) if np.all(array == array.flat[0]) else array


def _outermost(graph: tf.Graph) -> Iterator[_Scaled]:
    noted: list[_Scaled] = graph.get_collection(_KEY)
    inner = {layers[:-1] for *_, layers in noted}
    return (each for each in noted if each.layers not in inner)


def _leads_to(tensor: tf.Tensor, images: tf.Tensor) -> bool:
    """Returns whether a tensor holds values of the images, moved or not."""
    waiting, seen = [tensor], set()
    while waiting:
        each = waiting.pop()
        if each.name == images.name:
            return True
        if each.op.type in _MOVES and each.op.name not in seen:
            seen.add(each.op.name)
            waiting += each.op.inputs
    return False


def _width(affine: Affine, scaling: Scaling) -> float:
    return float(np.max(np.abs(affine.factor))) * _BYTES / np.min(scaling.spec["std_dev"])


def _numbers(affine: Affine) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns mean and std_dev of (x - mean) / std_dev; 0.0 is never negative."""
    return np.asarray(-affine.shift / affine.factor + 0.0), np.asarray(1 / affine.factor)


def _described(affine: Affine) -> str:
    mean, std_dev = _numbers(affine)
    return f"(x - {_text(mean)}) / {_text(std_dev)}"


def _text(values: NDArray[np.float64]) -> str:
    numbers = [f"{value:.6g}" for value in values.reshape(-1)[:_LISTED]] + ["..."] * (values.size > _LISTED)
    return numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"
