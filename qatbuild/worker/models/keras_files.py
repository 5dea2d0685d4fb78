"""Keras files: .keras, and .h5 of Keras 2 and 3, loaded in Keras' safe mode, which runs no code of the file.

Keras 3 has lost arguments that Keras 2 wrote into every file, such as `groups` of a DepthwiseConv2D, and refuses such
a file. Here, and nowhere else, they are taken out of the file's configuration, in a copy, where their value says
nothing: a convolution in one group, a sequence that does not have its time first. See also keras_2_graphs.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from qatbuild.exchange.errors import StageError
from qatbuild.worker.models import foreign_files, keras_2_graphs, keras_refusals

_SUFFIXES = frozenset({".keras", ".h5", ".hdf5"})
_ANY = object()
_ONE_GROUP = {"groups": 1}
_DEPTHWISE = dict.fromkeys(("kernel_initializer", "kernel_regularizer", "kernel_constraint"), _ANY)
_BATCH_FIRST = {"time_major": False}
_SPATIAL = {"trainable": True, "noise_shape": None}
_DRAWN = {"rng_type": _ANY}
_LOST: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _ONE_GROUP),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _ONE_GROUP),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _ONE_GROUP | _DEPTHWISE),
    **dict.fromkeys(("RNN", "SimpleRNN", "GRU", "LSTM"), _BATCH_FIRST),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _BATCH_FIRST),
    **dict.fromkeys(("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"), _SPATIAL),
    **dict.fromkeys(("RandomBrightness", "RandomContrast", "RandomCrop", "RandomFlip"), _DRAWN),
    **dict.fromkeys(("RandomRotation", "RandomTranslation", "RandomZoom"), _DRAWN),
    "Embedding": {"batch_input_shape": _ANY},
    "Discretization": {"trainable": _ANY},
    "MultiHeadAttention": dict.fromkeys(("query_shape", "key_shape", "value_shape"), _ANY)
    | {"softmax_robust_masking": False},
}
_MODELS = {"Functional": "keras.src.models.functional", "Model": "keras", "Sequential": "keras"}
"""Class -> argument -> the value that changes nothing; _ANY where no value does."""


@dataclass(frozen=True)
class Loaded:
    """A model loaded from a file, outside of every graph, and its variables' values in the order of model.variables."""

    model: keras.Model
    values: tuple[np.ndarray[Any, Any], ...]


def load(path: Path) -> Loaded:
    """Loads a .keras file, or an .h5 file; StageError if that fails or would need to run code of the file."""
    return _load(path, path.stat().st_mtime_ns if path.is_file() else 0)


@functools.lru_cache(maxsize=1)
def _load(path: Path, _mtime_ns: int) -> Loaded:
    if not path.is_file():
        raise StageError("The Keras file does not exist.", [("model.keras", path)], "the path is relative to the spec")
    if path.suffix not in _SUFFIXES:
        foreign_files.check(path, "model.keras")

    def read() -> Loaded:
        try:
            with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
                warnings.simplefilter("ignore")  # of training settings and optimizers, which are not used
                readable, classes = _for_keras_3(path, Path(folder)), keras_2_graphs.CLASSES
                model = keras.models.load_model(readable, custom_objects=classes, compile=False, safe_mode=True)
        except StageError:
            raise
        except Exception as fault:
            raise keras_refusals.unreadable(path, fault) from fault
        keras_refusals.check(model, path.name, trained=True)
        return Loaded(model, tuple(variable.numpy() for variable in model.variables))

    # As everything of Keras outside of a graph: see keras_model.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(read).result()


def _for_keras_3(path: Path, folder: Path) -> Path:
    """Returns the file, or a copy in `folder` with a configuration for Keras 3; StageError if it has none."""
    copy = folder / path.name
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            if not _written_anew(config):
                return path
            with zipfile.ZipFile(copy, "w") as written:
                for each in archive.infolist():
                    content = json.dumps(config).encode() if each.filename == "config.json" else archive.read(each)
                    written.writestr(each.filename, content)
    elif h5py.is_hdf5(path):
        with h5py.File(path) as file:
            config = json.loads(file.attrs.get("model_config", "null"))
        if not _written_anew(config):
            return path
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
    else:
        return path
    return copy


def _written_anew(config: Any) -> bool:
    """Writes a configuration as Keras 3 does, in place, or raises StageError; returns whether anything was changed."""
    keras_2_graphs.refuse_unread(config)
    return _mend(config)


def _mend(config: Any) -> bool:
    if isinstance(config, list):
        return bool(sum(map(_mend, config)))  # each of them, not only the first
    if not isinstance(config, dict):
        return False
    return bool(sum([_mended(config), *map(_mend, config.values())]))


def _mended(layer: dict[str, Any]) -> bool:
    """Removes a layer's lost arguments, and corrects the names of others, in place; returns whether there were any."""
    kind, arguments = str(layer.get("class_name")), layer.get("config")
    if not isinstance(arguments, dict):
        return False
    before = json.dumps(layer)
    if kind in _MODELS and kind != "Sequential":
        keras_2_graphs.rewrite(arguments)
    for name, meaningless in _LOST.get(kind, {}).items():
        if name in arguments and (meaningless is _ANY or arguments[name] == meaningless):
            del arguments[name]
    axis = arguments.get("axis")
    if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        (arguments["axis"],) = axis
    if kind == "ThresholdedReLU":
        layer["class_name"], arguments["threshold"] = "ReLU", arguments.pop("theta")
    if "module" in layer:  # the format .keras; for an .h5 file Keras does the same
        if kind in _MODELS and str(layer["module"]).startswith(("keras.src", "tf_keras")):
            layer.update(module=_MODELS[kind], registered_name=None)
        shape = arguments.pop("batch_input_shape", None)
        if kind == "InputLayer" and shape is not None:
            arguments["batch_shape"] = shape
    return json.dumps(layer) != before
