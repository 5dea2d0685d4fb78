"""The network as the graph of its .tflite: operators with names of their own, and what each reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from qatbuild.exchange.details import Histogram, LayerDetails
from qatbuild.worker.tflite.inspect import Flatbuffer
from qatbuild.worker.tflite.layer import Layer


def described(
    model: Flatbuffer, inputs: Sequence[str], layers: Sequence[Layer], weights: Mapping[int, Histogram]
) -> dict[str, LayerDetails]:
    """Returns the operators of a file by name, in the order of execution.

    The names are those of report.json's rows; the second operator of the same name is "NAME:2". `inputs` are the
    names of the file's inputs, `layers` those with a row, `weights` histograms by index of the operator's output.
    """
    names = dict(zip(model.inputs, inputs, strict=True))
    rows = {layer.index: (position, layer) for position, layer in enumerate(layers)}
    taken = Counter(inputs)
    graph = {}
    for operator in model.operators:
        name = _unique(model.layer(operator) or operator.name, taken)
        read = list(dict.fromkeys(names[index] for index in operator.inputs if index in names))
        names |= dict.fromkeys(operator.outputs, name)
        output = next(iter(operator.outputs), -1)
        position, layer = rows.get(output, (None, None))
        activations = layer.histogram() if layer else None
        graph[name] = LayerDetails(operator.name, read, position, weights.get(output), activations)
    return graph


def _unique(name: str, taken: Counter[str]) -> str:
    """Returns a name that is not taken: "NAME", then "NAME:2", "NAME:3"; and counts it."""
    number = taken[name] = taken[name] + 1
    return name if number == 1 else _unique(f"{name}:{number}", taken)
