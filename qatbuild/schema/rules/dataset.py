"""The rules of `dataset`: the fields of each kind, its fractions, and the arrays that inputs and outputs read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qatbuild.schema.ends import IMAGES, LABELS
from qatbuild.schema.faults import Fault
from qatbuild.schema.nearest import suggest
from qatbuild.schema.rules.reading import at, inputs_of, number, objects, outputs_of, place_of_input
from qatbuild.schema.tasks import task_of

KINDS_OF_FIELD = {
    "size": ("images", "tfrecord"),
    "resize": ("images", "tfrecord"),
    "color": ("images", "tfrecord"),
    "background": ("images",),
    "skip_damaged": ("images",),
    "table": ("images",),
    "splits": ("images",),
    "test": ("npz", "images", "tfrecord", "call"),
    "features": ("tfrecord",),
    "call": ("call",),
    "options": ("call",),
}
"""Field -> the kinds of datasets that have it. The other fields belong to all."""

FIXED = ("digits", "cifar10", "idx")
"""The kinds without a validation split of their own."""

_CLASSIFIED = (*FIXED, "images")
"""The kinds whose arrays are always IMAGES and LABELS."""


def kind_of(document: Any) -> str:
    """Returns the dataset's name, with its default."""
    name = at(document, "dataset", "name")
    return name if isinstance(name, str) else "digits"


def violations(document: Any) -> Iterator[Fault]:
    """Yields a fault for each violated rule of the dataset."""
    kind = kind_of(document)
    yield from _fields(document, kind)
    yield from _fractions(document)
    yield from _features(document)
    if kind in _CLASSIFIED:
        yield from _classified(document, kind)
    elif kind == "tfrecord":
        yield from _named_features(document)


def _fields(document: Any, kind: str) -> Iterator[Fault]:
    for name, kinds in KINDS_OF_FIELD.items():
        if at(document, "dataset", name) is not None and kind not in kinds:
            yield Fault(("dataset", name), f"is only for {', '.join(kinds)}, not for {kind}: remove this field.")
    if at(document, "dataset", "resize") is not None and at(document, "dataset", "size") is None:
        yield Fault(("dataset", "size"), 'missing. With resize write the size, "size": [height, width].')
    yield from _places(document, kind)


def _places(document: Any, kind: str) -> Iterator[Fault]:
    """Yields faults for fields that say where data are which a kind has elsewhere."""
    if kind == "digits":
        for name in ("path", "url"):
            if at(document, "dataset", name) is not None:
                yield Fault(("dataset", name), "the digits are embedded: remove this field, or set dataset.name.")
    if kind == "call" and at(document, "dataset", "path") is not None:
        yield Fault(("dataset", "path"), "the function makes the data: remove this field.")
    if kind in ("images", "tfrecord", "call"):
        for name in ("url", "sha256"):
            if at(document, "dataset", name) is not None:
                yield Fault(("dataset", name), f"the data of {kind} are your own: remove this field.")


def _fractions(document: Any) -> Iterator[Fault]:
    validation, test = (at(document, "dataset", name) for name in ("validation", "test"))
    if number(validation) and number(test) and validation + test >= 1:
        yield Fault(("dataset", "test"), f"leaves nothing to train on: validation and test are {validation + test:g}.")


def _features(document: Any) -> Iterator[Fault]:
    features = at(document, "dataset", "features")
    if kind_of(document) == "tfrecord" and features == {}:
        yield Fault(("dataset", "features"), "must name at least one feature.")
    pictures = False
    for name, feature in objects(document, "dataset", "features"):
        picture = feature.get("kind") == "picture"
        pictures |= picture
        if picture and feature.get("shape") is not None:
            text = "is not for a picture: remove it, and set dataset.size."
            yield Fault(("dataset", "features", name, "shape"), text)
    if isinstance(features, dict) and not pictures:
        for name in ("size", "color"):
            if at(document, "dataset", name) is not None:
                yield Fault(("dataset", name), 'is for pictures, and no feature has "kind": "picture": remove it.')


def _classified(document: Any, kind: str) -> Iterator[Fault]:
    """Yields faults for inputs and outputs of data that are images with a class each."""
    inputs, outputs = inputs_of(document), outputs_of(document)
    for name in inputs if len(inputs) > 1 else ():
        if name != IMAGES:
            text = f"{kind} has one array for an input, images: use npz or tfrecord for several."
            yield Fault(place_of_input(document, name), text)
    for name, output in outputs.items():
        task, target = output.get("task"), output.get("target")
        choices = task_of(task)
        if choices is not None and choices.pixels:
            text = f"{kind} has a class for each image, which is no target of a {task}: use npz or tfrecord."
            yield Fault(("outputs", name, "task"), text)
        elif isinstance(target, str) and task != "reconstruction" and target != LABELS:
            yield Fault(("outputs", name, "target"), f"{kind} has one target, labels; got {target}.")
        elif len(outputs) > 1 and target is None and task not in ("reconstruction", None) and name != LABELS:
            yield Fault(("outputs", name, "target"), f'missing. {kind} has one target: write "target": "labels".')


def _named_features(document: Any) -> Iterator[Fault]:
    """Yields faults for inputs and targets that no feature has."""
    features = at(document, "dataset", "features")
    if not isinstance(features, dict) or not features:
        return
    listed = ", ".join(features)
    inputs = inputs_of(document)
    for name in inputs if len(inputs) > 1 else ():
        if name not in features:
            yield Fault(
                place_of_input(document, name), f"must be named after a feature: {listed}.{suggest(name, features)}"
            )
    for name, output in outputs_of(document).items():
        target = output.get("target")
        if isinstance(target, str) and target not in features:
            yield Fault(
                ("outputs", name, "target"),
                f"must be one of the features, {listed}; got {target}.{suggest(target, features)}",
            )
