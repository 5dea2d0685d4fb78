"""Node data for Model Explorer, held against the published shape.

FIELDS are those of the dataclasses in model_explorer/node_data_builder.py of ai-edge-model-explorer 0.1.34, whose
package is half a gigabyte. Its adapter (ai-edge-model-explorer-adapter 0.2.1) called the operators of a .tflite of
qatbuild "0" to "7", by position, in the graph "main".
"""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from qatbuild.report.model_explorer import MEASURES, node_data
from tests.unit.test_layer_table import row

_COLOURED = {"bgColor": {"type": "string"}, "textColor": {"type": "string"}}


def shape(required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": [*required],
        "additionalProperties": False,
    }


NUMBER = {"type": "number"}
GRAPH_NODE_DATA = shape(
    {"results": {"type": "object", "additionalProperties": shape({"value": NUMBER}, _COLOURED)}},
    {
        "name": {"type": "string"},
        "thresholds": {"type": "array", "items": shape({"value": NUMBER}, _COLOURED)},
        "gradient": {"type": "array", "items": shape({"stop": {**NUMBER, "minimum": 0, "maximum": 1}}, _COLOURED)},
        "hideInAggregatedStatsTable": {"type": "boolean"},
        "hideInChildrenStatsTable": {"type": "boolean"},
        "hideAggregatedStats": {"type": "array", "items": {"enum": ["min", "max", "sum", "avg"]}},
        "showExpandedSummaryOnGroupNode": {"type": "boolean"},
        "showLabelCountColumnsInChildrenStatsTable": {"type": "boolean"},
    },
)
MODEL_NODE_DATA = {"type": "object", "additionalProperties": GRAPH_NODE_DATA}


def layer(name: str, position: int, **more: Any) -> dict[str, Any]:
    return {**row(name, "CONV_2D"), "position": position, **more}


def test_every_measure_has_the_published_shape() -> None:
    files = dict(node_data({"layers": [layer("conv1", 3), layer("conv2", 0)]}))
    assert [*files] == [measure.name for measure in MEASURES]
    for fields in files.values():
        jsonschema.validate(fields, MODEL_NODE_DATA)
        assert [*fields["main"]["results"]] == ["3", "0"]
        assert [each["stop"] for each in fields["main"]["gradient"]] == [0, 0.5, 1]


def test_a_layer_without_a_value_is_left_out_and_so_is_a_measure_without_layers() -> None:
    lossless = layer("pool", 1, sqnr_db={"float": 20.0, "fake_quant": None, "alone": None})
    files = dict(node_data({"layers": [lossless]}))
    assert "sqnr_db.alone" not in files
    assert files["sqnr_db.float"]["main"]["results"] == {"1": {"value": 20.0}}
    assert dict(node_data({})) == {}
    assert dict(node_data({"layers": [{"name": "a layer whose place is unknown", "saturated_percent": 1.0}]})) == {}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_the_worst_end_of_the_range_is_red(measure: Any) -> None:
    (fields,) = [each for name, each in node_data({"layers": [layer("conv1", 0)]}) if name == measure.name]
    colours = [each["bgColor"] for each in fields["main"]["gradient"]]
    assert colours.index("#f4a6a0") == (0 if measure.more_is_better else 2)
