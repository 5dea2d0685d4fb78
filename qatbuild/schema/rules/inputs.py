"""The rules of `input` and `inputs`, and of the augmentation, which changes images of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qatbuild.schema.faults import Fault
from qatbuild.schema.rules.reading import at, inputs_of, is_pair, is_real, outputs_of, place_of_input
from qatbuild.schema.tasks import task_of

_NARROWEST, _WIDEST = 1e-6, 1e6
_COLORS = 3


def violations(document: Any) -> Iterator[Fault]:
    """Yields a fault for each violated rule of the inputs."""
    if at(document, "input") is not None and at(document, "inputs") is not None:
        yield Fault(("inputs",), "use only one of input and inputs; null removes an inherited field.")
    for name, part in inputs_of(document).items():
        path = place_of_input(document, name)
        yield from range_faults(part.get("range"), (*path, "range"))
        yield from _channels(part, path)
    yield from _augment(document)


def range_faults(ends: Any, path: tuple[str, ...]) -> Iterator[Fault]:
    """Yields a fault for a range that no 8-bit integers can cover with a zero point. Other values are no ranges."""
    if not is_pair(ends):
        return
    low, high = ends
    if not low < high:
        yield Fault(path, f"must be [minimum, maximum] with minimum < maximum; got {low} .. {high}.")
    elif not low <= 0 <= high:
        text = f"must contain 0, which is the zero point: write [{min(low, 0)}, {max(high, 0)}]; got {low} .. {high}."
        yield Fault(path, text)
    elif not _NARROWEST <= high - low <= _WIDEST:
        text = f"must be {_NARROWEST:g} to {_WIDEST:g} wide: scale the data; got {low} .. {high}."
        yield Fault(path, text)


def _channels(part: dict[str, Any], path: tuple[str, ...]) -> Iterator[Fault]:
    counts = {name: len(part[name]) for name in ("mean", "std_dev") if isinstance(part.get(name), list)}
    if len({*counts.values()}) > 1:
        text = f"must have one value for each channel, as mean has {counts['mean']}; got {counts['std_dev']}."
        yield Fault((*path, "std_dev"), text)
    if part.get("order") == "bgr" and any(count != _COLORS for count in counts.values()):
        yield Fault((*path, "order"), "is for images of three channels: remove it, or write three values.")


def _augment(document: Any) -> Iterator[Fault]:
    augment = at(document, "augment")
    if not isinstance(augment, dict) or not any(augment.values()):
        return
    inputs = inputs_of(document)
    if inputs and all(map(is_real, inputs.values())):
        yield Fault(("augment",), "changes images of bytes, but all inputs are real values: remove it.")
    for name, output in outputs_of(document).items():
        task = task_of(output.get("task"))
        if task is not None and not task.moves:
            text = f"moves the pixels of the images, but not the targets of {name}, a {output['task']}: remove it."
            yield Fault(("augment",), text)
