"""The network of a new spec: what the user names, or the shipped one that fits the data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.errors import SpecError
from qatbuild.schema.nearest import nearest

SHIPPED = ("cifarnet", "digitsnet", "lenet", "mobilenet", "resnet8")
_HINT = (
    "Give a function as module:function, a .keras, .h5 or frozen .pb file, a SavedModel's folder, or one of"
    f" {', '.join(SHIPPED)}."
)
_FUNCTION_HINT = (
    "Shipped networks find classes in one image [height, width, channels], of at least 4x4 pixels (images that"
    " begin with their channels need transpose(0, 2, 3, 1)). For others write a function that returns a Keras model,"
    " and name it: --model networks:function (docs/spec.md, Networks)."
)
_IMAGE_RANK = 3
_LEAST_PX = 4


class ChosenNetwork(NamedTuple):
    """Fields of the spec's `model` but for the file, its `field` and `file` ('' and None without one); the reason."""

    model: Mapping[str, Any]
    field: str = ""
    file: Path | None = None
    reason: str = ""

    @property
    def is_trained(self) -> bool:
        """Whether its file holds weights."""
        return self.file is not None

    @property
    def keras_file(self) -> Path | None:
        """The file, if it is Keras's."""
        return self.file if self.field == "keras" else None

    def in_spec(self, path: str) -> dict[str, Any]:
        """Returns the spec's `model`, with its file at `path`."""
        return {**self.model, **({self.field: path} if self.field else {})}


def named(text: str, root: Path) -> ChosenNetwork:
    """Returns the network that the user names: shipped, a function, or a file. SpecError for any other."""
    if text in SHIPPED:
        return ChosenNetwork({"name": text}, reason="as asked for")
    file = Path(os.path.abspath(text))  # noqa: PTH100  Links are kept.
    if file.is_dir() and (file / "saved_model.pb").is_file():
        return ChosenNetwork({}, "saved_model", file, "as asked for")
    if file.is_file() and file.suffix in {".keras", ".h5"}:
        return ChosenNetwork({}, "keras", file, "as asked for")
    if file.is_file() and file.suffix == ".pb":
        return ChosenNetwork({}, "graph_def", file, "as asked for")
    place, colon, function = text.rpartition(":")
    if colon and function.isidentifier():
        return ChosenNetwork({"call": f"{_module(place, root)}:{function}"}, reason="as asked for")
    near = nearest(text, SHIPPED)
    facts = [("--model", text), *([("Did you mean", near)] if near else [])]
    raise SpecError("There is no such network.", facts, _HINT)


def _module(place: str, root: Path) -> str:
    """Returns the dotted name of a module that may be given as a file."""
    if not place.endswith(".py"):
        return place
    relative = os.path.relpath(place, root)
    if relative.startswith(".."):
        raise SpecError(
            "The function lies outside the project.",
            [("--model", place), ("project", root)],
            "move it inside the project",
        )
    return relative.removesuffix(".py").replace(os.sep, ".")


def fitting(shapes: Sequence[Sequence[int]], tasks: Sequence[str]) -> ChosenNetwork:
    """Returns the shipped network for inputs of these shapes and these targets; SpecError if none fits."""
    shape = shapes[0]
    is_image = len(shapes) == 1 and len(shape) == _IMAGE_RANK and min(shape[:2]) >= _LEAST_PX
    if not is_image or tasks not in (["classification"], ["multilabel"]):
        facts = [("shape of an example", ", ".join(map(str, map(list, shapes)))), ("targets", ", ".join(tasks))]
        raise SpecError("No shipped network fits these data.", facts, _FUNCTION_HINT)
    side = min(shape[:2])
    size = f"{shape[0]}x{shape[1]} pixels"
    for least, name, options in ((40, "mobilenet", {"width": 0.25}), (16, "resnet8", {}), (0, "digitsnet", {})):
        if side >= least:
            return ChosenNetwork({"name": name, **options}, reason=f"the smallest shipped network for {size}")
    raise AssertionError(side)
