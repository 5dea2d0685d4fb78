"""A model without TensorFlow: one empty subgraph, written by LiteRT's own flatbuffer tools."""

from __future__ import annotations

import subprocess
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


@pytest.fixture(scope="session")
def arm_nn() -> None:
    """Skips the tests on a machine without Arm NN, which only Debian has."""
    missing = subprocess.run(["/usr/bin/python3", "-c", "import pyarmnn"], capture_output=True, check=False).returncode
    if missing:
        pytest.skip("this machine has no Debian pyarmnn")
