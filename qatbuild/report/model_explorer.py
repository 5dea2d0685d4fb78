"""The layers' figures as node data of Google's Model Explorer, which colours the graph of the .tflite by them.

Format: the JSON of `ModelNodeData` in model_explorer/node_data_builder.py of the package ai-edge-model-explorer. Its
adapter for .tflite files calls the graph `main`, and an operator by its position in the order of execution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

GRAPH = "main"

_GOOD, _FAIR, _BAD = "#d9f2d9", "#fff2cc", "#f4a6a0"


class Measure(NamedTuple):
    """A figure of each layer: where it stands in a row of report.json's `layers`, and whether more is better."""

    path: tuple[str, ...]
    title: str
    more_is_better: bool

    @property
    def name(self) -> str:
        """The measure as `doit diff` writes it: sqnr_db.alone."""
        return ".".join(self.path)

    def of(self, layer: Mapping[str, Any]) -> float | None:
        """Returns the layer's value; None for a missing one, and for the SQNR of a layer without loss."""
        value: Any = layer
        for name in self.path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, int | float) else None


MEASURES = (
    Measure(("sqnr_db", "alone"), "SQNR of the layer alone, dB", more_is_better=True),
    Measure(("sqnr_db", "float"), "SQNR against the float graph, dB", more_is_better=True),
    Measure(("sqnr_db", "fake_quant"), "SQNR against the fake-quantized graph, dB", more_is_better=True),
    Measure(("max_lsb", "same_inputs"), "largest difference on the same inputs, LSB", more_is_better=False),
    Measure(("max_lsb", "fake_quant"), "largest difference in the whole network, LSB", more_is_better=False),
    Measure(("codes_used_percent",), "quantized values in use, %", more_is_better=True),
    Measure(("saturated_percent",), "saturated outputs, %", more_is_better=False),
)


def node_data(report: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name of each measure that a report.json has values of, and its ModelNodeData as plain data."""
    layers: Sequence[Mapping[str, Any]] = report.get("layers", ())
    for measure in MEASURES:
        values = {str(layer["position"]): measure.of(layer) for layer in layers if "position" in layer}
        results = {id_: {"value": value} for id_, value in values.items() if value is not None}
        if results:
            yield measure.name, {GRAPH: {"name": measure.title, "results": results, "gradient": _gradient(measure)}}


def _gradient(measure: Measure) -> list[dict[str, Any]]:
    """Returns the colours from the smallest value of the graph, 0, to the largest, 1."""
    colours = (_BAD, _FAIR, _GOOD) if measure.more_is_better else (_GOOD, _FAIR, _BAD)
    return [{"stop": stop, "bgColor": colour} for stop, colour in zip((0, 0.5, 1), colours, strict=True)]
