"""The papers of a real model: valid by the official schemas, full, and true down to every tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.worker.difference import difference
from qatbuild.worker.tflite import inspect
from qatbuild.worker.training import checkpoint
from tests.e2e.conftest import Project
from tests.official import bom_faults, statement_faults

pytestmark = pytest.mark.tf


def test_papers_of_a_real_model_are_valid_and_say_what_the_report_says(digits: Project) -> None:
    home, report = digits.root / "build/digits", digits.report("digits")
    assert statement_faults((home / "provenance.json").read_text()) == ""
    assert bom_faults((home / "bom.json").read_text()) == ""
    model = json.loads((home / "bom.json").read_text())["metadata"]["component"]
    card = model["modelCard"]
    assert card["modelParameters"]["task"] == "classification"
    assert card["modelParameters"]["architectureFamily"] == "convolutional neural network"
    assert "uint8 1x8x8x1, scale 0.0039" in card["modelParameters"]["inputs"][0]["format"]
    rows = card["quantitativeAnalysis"]["performanceMetrics"]
    metrics = {(each["type"], each["slice"].partition(",")[0]): each for each in rows}
    top1 = metrics["top1 (%)", "model.tflite"]
    assert float(top1["value"]) == pytest.approx(report["top1"]["tflite"], abs=1e-3)
    ends = {name: float(value) for name, value in top1["confidenceInterval"].items()}
    assert ends["lowerBound"] < report["top1"]["tflite"] < ends["upperBound"]
    assert metrics["size (bytes)", "model.tflite"]["value"] == str(report["bytes"]["tflite"])
    text = (home / "bom.json").read_text() + (home / "provenance.json").read_text()
    assert str(digits.root) not in text
    assert str(report["latency_ms"]["median"]) not in text


def test_a_real_model_is_verified(digits: Project) -> None:
    done = digits.doit("verify", "digits")
    assert done.returncode == 0, done.stderr
    assert "of 8 stages verified" in done.stdout


def test_the_differing_tensor_of_a_tflite_is_named(digits: Project, tmp_path: Path) -> None:
    file = digits.root / "build/digits/model.tflite"
    model = inspect.load(file)
    largest = max(model.subgraphs[0].tensors, key=lambda tensor: len(_data(model, tensor)))
    data = bytearray(file.read_bytes())
    data[bytes(data).index(_data(model, largest)) + 5] ^= 1
    (tmp_path / "model.tflite").write_bytes(data)
    differs = difference(file, tmp_path / "model.tflite")
    assert differs.tensor == largest.name.decode()
    assert differs.values.startswith("1 of ")


def test_the_differing_constant_of_a_frozen_graph_is_named(digits: Project, tmp_path: Path) -> None:
    file = digits.root / "build/digits/frozen_graph.pb"
    graph = tf.compat.v1.GraphDef.FromString(file.read_bytes())
    largest = max((node for node in graph.node if node.op == "Const"), key=lambda node: node.ByteSize())
    value = np.array(tf.make_ndarray(largest.attr["value"].tensor))
    value.flat[0] += 1
    largest.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    (tmp_path / file.name).write_bytes(graph.SerializeToString())
    assert difference(file, tmp_path / file.name).tensor == largest.name


def test_the_differing_variable_of_a_checkpoint_is_named(digits: Project, tmp_path: Path) -> None:
    (index,) = (digits.root / "build/shared").glob("quantize-*/model.ckpt-500.index")
    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    values = {name: np.array(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
    name = "DigitsNet/conv1/weights"
    values[name].flat[7] += 1
    checkpoint.write(values, tmp_path / "model.ckpt-500")
    for suffix in (".index", ".data-00000-of-00001"):
        differs = difference(index.with_suffix(suffix), tmp_path / f"model.ckpt-500{suffix}")
        assert differs.tensor == name, differs
        assert differs.values.startswith("1 of ")


def _data(model: Any, tensor: Any) -> bytes:
    data = model.buffers[tensor.buffer].data
    return b"" if data is None else bytes(data)
