"""What a Keras file's own description says about its input, without loading the network or TensorFlow."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.look import NetworkLook

_SCALING = frozenset({"Rescaling", "Normalization"})


def look(file: Path) -> NetworkLook:
    """Returns the input's shape, () if there are several or none, and whether layers scale it; StageError."""
    try:
        config = _config(file)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as fault:
        facts = [("file", file), ("reason", fault)]
        raise StageError("The Keras file cannot be read.", facts, "save the network again: model.save(FILE)") from fault
    layers = list(_layers(config))
    shapes = [shape for layer in layers if layer.get("class_name") == "InputLayer" if (shape := _shape(layer))]
    scales = any(layer.get("class_name") in _SCALING for layer in layers)
    return NetworkLook(tuple(shapes[0]) if len(shapes) == 1 else (), scales)


def _config(file: Path) -> Any:
    if file.suffix == ".keras":
        with zipfile.ZipFile(file) as archive:
            return json.loads(archive.read("config.json"))
    import h5py  # noqa: PLC0415  Only Keras 2's files need it.

    with h5py.File(file) as group:
        return json.loads(group.attrs["model_config"])


def _layers(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yields every layer in a description, however deep."""
    if isinstance(value, Mapping):
        if isinstance(value.get("class_name"), str):
            yield value
        for part in value.values():
            yield from _layers(part)
    elif isinstance(value, list):
        for part in value:
            yield from _layers(part)


def _shape(layer: Mapping[str, Any]) -> list[int | None]:
    config = layer.get("config", {})
    shape = config.get("batch_shape") or config.get("batch_input_shape") or [None]
    return [*shape[1:]]
