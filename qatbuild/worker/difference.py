"""The first tensor in which two files of the same kind differ, for `doit reproduce`: one process, two paths.

    python -m qatbuild.worker.difference BUILT REBUILT

prints one line of JSON: `tensor`, its name, or the place in a file without tensors; `values`, in what it differs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ROWS = 4096
"""Rows of mapped arrays that are compared at once: a dataset may be larger than the memory."""

_DATA = ".data-00000-of-00001"
_INDEX = ".index"

Tensors = Mapping[str, Callable[[], Any]]
"""Name -> a function that reads the tensor, in the file's order."""


class Difference(NamedTuple):
    """The first tensor that differs, and in what."""

    tensor: str
    values: str


def difference(built: Path, rebuilt: Path) -> Difference:
    """Returns the first difference of two files.

    Tensors are those of .npy and .npz files, checkpoints, frozen graphs and .tflite files; of any other file, and of
    one that is not what its name says, it is the first byte that differs.
    """
    if not (built.is_file() and rebuilt.is_file()):
        return Difference("", "only one of the builds has this file")
    for suffix, reader in _READERS.items():
        if built.name.endswith(suffix):
            try:
                return _first_tensor(reader(built), reader(rebuilt)) or _first_byte(built, rebuilt)
            except Exception:  # noqa: BLE001, S110  TensorFlow's kinds are many.
                pass
    return _first_byte(built, rebuilt)


def _first_tensor(one: Tensors, other: Tensors) -> Difference | None:
    """Returns the first tensor that differs, None if the files differ in something else."""
    for name, read in one.items():
        if name not in other:
            return Difference(name, "only the built file has this tensor")
        if values := _differing(read(), other[name]()):
            return Difference(name, values)
    added = [name for name in other if name not in one]
    return Difference(added[0], "only the rebuilt file has this tensor") if added else None


def _differing(one: Any, other: Any) -> str:
    """Returns in what two arrays differ, '' for equal bits."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return f"{one.dtype}{list(one.shape)} and {other.dtype}{list(other.shape)}"
    count, first = 0, None
    for start, (left, right) in _parts(one, other):
        unequal = _bits(left) != _bits(right)
        if unequal.any():
            count += int(np.count_nonzero(unequal))
            if first is None:
                place = tuple(map(int, np.argwhere(unequal)[0]))
                first = (start + place[0], *place[1:]) if place else (), left[place], right[place]
    if first is None:
        return ""
    place, left, right = first
    return f"{count:,} of {one.size:,} values differ, the first at {list(place)}: {left!s} and {right!s}"


def _parts(one: Any, other: Any) -> Iterator[tuple[int, tuple[NDArray[Any], NDArray[Any]]]]:
    """Yields the first row's number and the same rows of both arrays."""
    if one.ndim == 0:
        yield 0, (np.asarray(one), np.asarray(other))
        return
    for start in range(0, len(one), _ROWS):
        yield start, (np.asarray(one[start : start + _ROWS]), np.asarray(other[start : start + _ROWS]))


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """Returns floats as the integers of their bits: 0.0 is not -0.0, and a NaN equals itself."""
    if values.dtype.kind != "f":
        return values
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}").reshape(values.shape)


def _npy(file: Path) -> Tensors:
    return {file.stem: partial(np.load, file, mmap_mode="r", allow_pickle=False)}


def _npz(file: Path) -> Tensors:
    arrays = np.load(file, allow_pickle=False)
    return {name: partial(arrays.__getitem__, name) for name in arrays.files}


def _checkpoint(file: Path) -> Tensors:
    from tensorflow import train  # noqa: PLC0415  Only checkpoints and graphs need TensorFlow.

    reader = train.load_checkpoint(str(file).removesuffix(_DATA).removesuffix(_INDEX))
    names = sorted(reader.get_variable_to_shape_map())
    return {name: partial(_value, reader, name) for name in names}


def _value(reader: Any, name: str) -> NDArray[Any]:
    return np.asarray(reader.get_tensor(name))


def _graph(file: Path) -> Tensors:
    from qatbuild.worker import graph_def  # noqa: PLC0415

    nodes = graph_def.read(file).node
    return {node.name: partial(graph_def.constant, node) for node in nodes if node.op == graph_def.CONSTANT}


def _tflite(file: Path) -> Tensors:
    """Reads the constants by tensor, and the scales and zero points of all tensors."""
    from qatbuild.worker.tflite import inspect  # noqa: PLC0415

    model, described = inspect.load(file), inspect.read(file).tensors
    stored = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    tensors: dict[str, Callable[[], Any]] = {}
    for number, (tensor, facts) in enumerate(zip(stored, described, strict=True)):
        name = facts.name if facts.name not in tensors else f"{facts.name} ({number})"
        tensors[f"{name}, scale"] = partial(np.asarray, facts.scales)
        tensors[f"{name}, zero point"] = partial(np.asarray, facts.zero_points)
        tensors[name] = partial(_stored, model.buffers[tensor.buffer].data, facts.dtype, facts.shape)
    return tensors


def _stored(data: Any, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Returns the constant in a buffer; its bytes, if the type is packed; nothing for an activation."""
    stored = np.frombuffer(b"" if data is None else bytes(data), np.uint8)
    try:
        return stored.view(dtype).reshape(shape)
    except (TypeError, ValueError):
        return stored


def _first_byte(built: Path, rebuilt: Path) -> Difference:
    one, other = (np.fromfile(file, np.uint8) for file in (built, rebuilt))
    shorter = min(one.size, other.size)
    unequal = np.flatnonzero(one[:shorter] != other[:shorter])
    place = int(unequal[0]) if unequal.size else shorter
    return Difference(f"byte {place}", f"{one.size} and {other.size} bytes")


_READERS: dict[str, Callable[[Path], Tensors]] = {
    ".npy": _npy,
    ".npz": _npz,
    _DATA: _checkpoint,
    _INDEX: _checkpoint,
    "_graph.pb": _graph,
    ".tflite": _tflite,
}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(difference(*map(Path, sys.argv[1:]))._asdict()) + "\n")
