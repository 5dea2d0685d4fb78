"""A model without TensorFlow: one empty subgraph, written by LiteRT's own flatbuffer tools."""

from __future__ import annotations

from pathlib import Path

import pytest
from ai_edge_litert.tools import flatbuffer_utils


@pytest.fixture
def small_model(tmp_path: Path) -> Path:
    """A .tflite file with nothing in it."""
    schema = flatbuffer_utils.schema_fb
    model, graph, buffer = schema.ModelT(), schema.SubGraphT(), schema.BufferT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [buffer], []
    path = tmp_path / "small.tflite"
    flatbuffer_utils.write_model(model, str(path))
    return path
