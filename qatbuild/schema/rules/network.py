"""The rules of `model`: its weights, and the names of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qatbuild.schema.faults import Fault
from qatbuild.schema.nearest import suggest
from qatbuild.schema.rules.reading import at, inputs_of, outputs_of

_WITH_WEIGHTS = ("weights", "keras", "saved_model", "graph_def")


def violations(document: Any) -> Iterator[Fault]:
    """Yields a fault for each violated rule of the network."""
    if at(document, "model", "meta_graph") is not None and at(document, "model", "weights") is None:
        yield Fault(("model", "weights"), "missing. A meta graph holds no weights: name its checkpoint.")
    tensors = [
        tensor for name, output in outputs_of(document).items() for tensor in tensors_of(name, output.get("task"))
    ]
    yield from _names(document, "inputs", [*inputs_of(document)])
    yield from _names(document, "outputs", tensors)
    for field, names in (("input", [*inputs_of(document)]), ("output", tensors)):
        if at(document, "model", field) is not None and len(names) > 1:
            text = f'names one tensor of {len(names)}: write "{field}s": {{"{names[0]}": ..., "{names[1]}": ...}}.'
            yield Fault(("model", field), text)


def has_weights(document: Any) -> bool:
    """Returns whether the network brings trained weights along."""
    return any(at(document, "model", name) is not None for name in _WITH_WEIGHTS)


def tensors_of(name: str, task: object) -> tuple[str, ...]:
    """Returns the names of an output's tensors: a detection has two."""
    return (f"{name}/boxes", f"{name}/scores") if task == "detection" else (name,)


def _names(document: Any, field: str, names: list[str]) -> Iterator[Fault]:
    """Yields a fault for each name in model.inputs or model.outputs that the spec's inputs or outputs lack."""
    tensors = at(document, "model", field)
    if not isinstance(tensors, dict) or not names:
        return
    for name in sorted(tensors.keys() - set(names)):
        text = f"is no name of the spec's {field}: {', '.join(names)}.{suggest(name, names)}"
        yield Fault(("model", field, name), text)
    for name in names:
        if name not in tensors:
            yield Fault(("model", field, name), f"missing. Name the tensor of each of the {field}.")
