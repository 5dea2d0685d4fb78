"""Signs of why a layer of a .tflite loses accuracy: measured by the evaluate stage, read by the diagnosis.

Percentages are 0..100, values and ranges are real values. None stands for what was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Range = tuple[float, float]


class BatchNormSign(NamedTuple):
    """How far the moving averages of the layer's batch norm are from the test examples: 0 and 1 if they fit.

    The median over the channels of the difference of the means, in standard deviations, and of the larger by the
    smaller variance.
    """

    mean_shift: float
    variance_ratio: float


class InputSign(NamedTuple):
    """How the real values of an input lie in its grid, and the signal to noise ratio that rounding them leaves, `db`.

    The others as in LayerSigns; a channel of a vector is one value of it.
    """

    name: str
    db: float
    range: Range
    bulk_percent: float
    values: Range
    clipped_percent: float | None = None
    channel_percent: float | None = None
    clipped_db: float | None = None


class LayerSigns(NamedTuple):
    """How a layer's values and weights lie in their quantization grids.

    range                    least and greatest value of the grid of its output
    bulk_percent             of the 256 quantized values, those that hold all but 0.05 % of the outputs at each end
    is_output                whether it is an output of the network
    values                   least and greatest value of the layer alone: in float, on the .tflite's own inputs
    float_values             least and greatest value of the layer in the float network
    clipped_percent          of the values of the layer alone, those beyond the grid
    channel_percent          the greatest value of the median channel, in percent of the widest channel's
    weight_channel_percent   the same of the weights, in quantized values
    batch_norm               the sign of the batch norm that was folded into it
    clipped_db               the signal to noise ratio that those values alone leave; None if no value is beyond
    override_name            the name of the layer in quantize.overrides that gives the output its range
    reads                    the sign of a rounded input of the network that it reads
    """

    range: Range
    bulk_percent: float
    is_output: bool = False
    values: Range | None = None
    float_values: Range | None = None
    clipped_percent: float | None = None
    channel_percent: float | None = None
    weight_channel_percent: float | None = None
    batch_norm: BatchNormSign | None = None
    clipped_db: float | None = None
    override_name: str | None = None
    reads: InputSign | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> LayerSigns:
        """Reads the "signs" of a row of report.json's "layers"; KeyError or TypeError for anything else."""
        ends = {name: _range(fields[name]) for name in ("range", "values", "float_values")}
        norm, reads = fields["batch_norm"], fields.get("reads")
        return cls(
            **{**fields, **ends, "batch_norm": norm and BatchNormSign(**norm), "reads": reads and _input_sign(reads)}
        )


def _input_sign(fields: Mapping[str, Any]) -> InputSign:
    return InputSign(**{**fields, **{name: _range(fields[name]) for name in ("range", "values")}})


def _range(ends: Any) -> Any:
    return ends and tuple(ends)
