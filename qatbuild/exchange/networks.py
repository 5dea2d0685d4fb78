"""Where a network comes from: the spec's `model`, as it crosses to the worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

Tensors = Mapping[str, str] | str | None
"""Tensors of a graph by the spec's names of inputs or outputs; the lone one's name; None: they are found."""


class Shipped(NamedTuple):
    """A network of qatbuild.worker.models, and its keyword arguments."""

    name: str
    options: Mapping[str, Any] = {}

    @property
    def title(self) -> str:
        """The network's name for people."""
        return self.name


class Called(NamedTuple):
    """A function of the project, "package.module:function", and its keyword arguments."""

    call: str
    options: Mapping[str, Any] = {}

    @property
    def title(self) -> str:
        """The network's name for people."""
        return self.call


class KerasFile(NamedTuple):
    """A .keras or .h5 file."""

    path: Path

    @property
    def title(self) -> str:
        """The network's name for people."""
        return self.path.name


class MetaGraph(NamedTuple):
    """A meta graph of TensorFlow 1, and the tensors in it that inputs replace and that hold the outputs."""

    path: Path
    inputs: Tensors
    outputs: Tensors

    @property
    def title(self) -> str:
        """The network's name for people."""
        return self.path.name


class SavedModel(NamedTuple):
    """A folder of TensorFlow 1 or 2, its signature or function (None: the usual one), and where it is cut.

    `inputs` and `outputs` are names of the signature's or of tensors inside; None: those of the signature.
    """

    path: Path
    signature: str | None = None
    inputs: Tensors = None
    outputs: Tensors = None

    @property
    def title(self) -> str:
        """The network's name for people."""
        return self.path.name


class GraphDef(NamedTuple):
    """A frozen graph, and the tensors in it that inputs replace and that hold the outputs."""

    path: Path
    inputs: Tensors = None
    outputs: Tensors = None

    @property
    def title(self) -> str:
        """The network's name for people."""
        return self.path.name


Network = Shipped | Called | KerasFile | MetaGraph | SavedModel | GraphDef


def read(model: Mapping[str, Any], file: Path | None = None) -> Network:
    """Reads the setting "model"; a network of a file lies at `file`, by default where the setting says."""
    options = model.get("options") or {}
    if "name" in model:
        return Shipped(model["name"], options)
    if "call" in model:
        return Called(model["call"], options)
    if "keras" in model:
        return KerasFile(file or Path(model["keras"]))
    inputs, outputs = (_tensors(model, *keys) for keys in (("inputs", "input"), ("outputs", "output", "logits")))
    if "saved_model" in model:
        return SavedModel(file or Path(model["saved_model"]), model.get("signature"), inputs, outputs)
    if "graph_def" in model:
        return GraphDef(file or Path(model["graph_def"]), inputs, outputs)
    return MetaGraph(file or Path(model["meta_graph"]), inputs, outputs)


def _tensors(model: Mapping[str, Any], *keys: str) -> Tensors:
    tensors: Tensors = next((model[key] for key in keys if model.get(key) is not None), None)
    return tensors
