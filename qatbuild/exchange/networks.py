"""Where a network comes from: the spec's `model`, as it crosses to the worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


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
    """A meta graph of TensorFlow 1, and the tensors in it that images replace and that hold the logits."""

    path: Path
    input: str
    logits: str

    @property
    def title(self) -> str:
        """The network's name for people."""
        return self.path.name


Network = Shipped | Called | KerasFile | MetaGraph


def read(model: Mapping[str, Any], file: Path | None = None) -> Network:
    """Read the setting "model"; a network of a file lies at `file`, by default where the setting says."""
    options = model.get("options") or {}
    if "name" in model:
        return Shipped(model["name"], options)
    if "call" in model:
        return Called(model["call"], options)
    if "keras" in model:
        return KerasFile(file or Path(model["keras"]))
    return MetaGraph(file or Path(model["meta_graph"]), model["input"], model["logits"])
