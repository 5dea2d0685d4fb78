"""The share of a model on the NPU counts the model's own operators, not those that Vela makes of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.worker.deploy import vela
from tests.deploy.subjects import converted

v1 = tf.compat.v1
OPTIONS = {
    "accelerator": "ethos-u55-128", "system_config": "Ethos_U55_High_End_Embedded", "memory_mode": "Shared_Sram",
    "optimise": "Performance", "min_npu_percent": 90.0,
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A convolution with a stride that no Ethos-U55 has, a dense layer and a softmax."""
    if importlib.util.find_spec("ethosu") is None:
        pytest.skip("this machine has no ethosu")
    random = np.random.default_rng(1)

    def ranged(tensor: tf.Tensor) -> tf.Tensor:
        return tf.quantization.fake_quant_with_min_max_vars(tensor, -4, 4)

    def weights(*shape: int) -> tf.Tensor:
        values = random.uniform(-1, 1, shape).astype(np.float32)
        return tf.quantization.fake_quant_with_min_max_vars(values, -1, 1, narrow_range=True)

    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, 16, 16, 1], name="input")
        net = v1.nn.conv2d(images, weights(3, 3, 1, 4), strides=[1, 5, 5, 1], padding="SAME", name="Net/conv1/Conv2D")
        net = ranged(tf.nn.bias_add(net, np.ones(4, np.float32), name="Net/conv1/BiasAdd"))
        net = tf.matmul(tf.reshape(net, [-1, 64]), weights(64, 4), name="Net/logits/MatMul")
        tf.nn.softmax(ranged(tf.nn.bias_add(net, np.ones(4, np.float32))), name="Softmax")
    path = tmp_path / "graph.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    made = tmp_path / "model.tflite"
    made.write_bytes(converted(path))
    return made


@pytest.mark.tf
def test_one_operator_of_four_on_the_cpu_is_75_percent_and_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    subject: Any = SimpleNamespace(tflite=model, sources={})
    outcome = vela.build(subject, OPTIONS, tmp_path / "out")
    figures = outcome.figures
    assert (figures["operators"], figures["on_cpu"], figures["npu_percent"]) == (4, ["conv1 (CONV_2D)"], 75)
    assert figures["vela_npu_operators"] > 20
    ends, share = outcome.gates
    assert ends.passed
    assert not share.passed
    assert "Unsupported kernel stride: 5, 5" in share.got
