"""A frozen graph imported in a `call` function: quantized by ptq, refused readably where a training is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import StageError
from qatbuild.worker.stages import check, convert, export, freeze, quantize
from qatbuild.worker.stages import float as floating
from tests.hints import follows
from tests.training.project import Project

pytestmark = pytest.mark.tf

v1 = tf.compat.v1


def frozen() -> bytes:
    random = np.random.default_rng(1)
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 8, 8, 1], name="input")
        kernel, weights = random.normal(0, 0.3, (3, 3, 1, 4)), random.normal(size=(4, 10))
        x = tf.nn.relu(tf.nn.conv2d(x, tf.constant(kernel, tf.float32), 1, "SAME", name="conv/Conv2D"))
        x = tf.matmul(tf.reduce_mean(x, [1, 2]), tf.constant(weights, tf.float32), name="dense/MatMul")
        tf.add(x, tf.ones([10]), name="logits")
        data: bytes = graph.as_graph_def().SerializeToString()
    return data


def network(images, classes, *, training, folder):  # noqa: ARG001
    definition = v1.GraphDef.FromString((Path(folder) / "frozen.pb").read_bytes())
    (logits,) = tf.import_graph_def(definition, {"input:0": images}, ["logits:0"], name="frozen")
    return logits


def test_constants_are_quantized_by_ptq_and_not_trained(tmp_path: Path) -> None:
    (tmp_path / "frozen.pb").write_bytes(frozen())
    random = np.random.default_rng(1)
    images, labels = random.integers(0, 256, [24, 8, 8, 1], np.uint8), random.integers(0, 10, 24).astype(np.int32)
    project = Project(tmp_path / "project", images, labels, 8)
    project.settings["model"] = {"call": f"{__name__}:network", "options": {"folder": str(tmp_path)}}
    trained = {**project.settings["quantize"], "mode": "integer"}
    measured = {"method": "ptq", "calibration": {"images": 16, "range": "min_max", "percentile": 99.99}}
    project.settings["quantize"] = trained | measured
    project.run(check.run, "dataset")
    assert project.run(floating.run, "dataset").facts["steps"] == [0]
    project.run(quantize.run, "dataset", "check", "float")
    project.run(export.run, "dataset", "check")
    project.run(freeze.run, "export", "quantize", "float")
    made = project.run(convert.run, "export", "freeze")
    assert all(gate["passed"] for gate in made.facts["gates"])
    project.settings["quantize"] = trained
    with pytest.raises(StageError, match="no variables that a training could change") as refused:
        project.run(quantize.run, "dataset", "check", "float")
    assert follows('Write "quantize": {"method": "ptq"}: it measures ranges') in refused.value.hint
    project.settings["quantize"] = trained | measured
    assert project.run(quantize.run, "dataset", "check", "float")
