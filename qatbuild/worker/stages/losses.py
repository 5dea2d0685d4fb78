"""Where a metric was lost on the way from the float network to the .tflite: by the quantization, or behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from qatbuild.exchange.facts import Figures
from qatbuild.worker.stages import metric_gates

_QUANTIZED = "in the quantized graph already, so the conversion is not the cause"
_QUANTIZED_HINT = (
    "Give the worst layers a range that fits, or remove the one they have (quantize.overrides), or learn the ranges for"
    ' longer ("method": "qat" with more quantize.steps).'
)
_CONVERTED = "between the quantized graph and the .tflite, which computes something else"
_CONVERTED_HINT = (
    'See "LSB, same inputs" of "doit layers": where it is more than 1, the layer computes what was not trained.'
)


class Loss(NamedTuple):
    """A metric of the .tflite that is worse than that of the float network: its name, where it was lost, a hint."""

    metric: str
    where: str
    hint: str

    @property
    def row(self) -> tuple[str, str]:
        """The loss as a row of an error."""
        return f"{self.metric} lost", self.where


def where(metrics: Mapping[str, Figures]) -> list[Loss]:
    """Returns the loss of each output's first metric that got worse, with the step that cost the most of it."""
    losses = []
    for name in metric_gates.first(metrics):
        figures = metrics[name]
        if figures.loss("float", "tflite") > 0:
            first, second = figures.loss("float", "fake_quant"), figures.loss("fake_quant", "tflite")
            step, hint = (_QUANTIZED, _QUANTIZED_HINT) if first >= second else (_CONVERTED, _CONVERTED_HINT)
            values = f"float {figures.float:g}, fake-quantized {figures.fake_quant:g}, .tflite {figures.tflite:g}"
            losses.append(Loss(name, f"{step}\n{values}", hint))
    return losses
