"""Networks: of Keras 2, of Keras in a graph that trains already, of PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError, StageError
from qatbuild.quantize import create_training_graph
from qatbuild.worker.training import checkpoint
from tests.hints import follows
from tests.models.graphs import Built as BuiltGraph
from tests.pains.conftest import Built

pytestmark = pytest.mark.tf

v1 = tf.compat.v1


def test_a_keras_3_model_is_quantized_and_a_keras_2_model_is_refused_by_its_version(
    built: Built, refused: Mapping[str, str]
) -> None:
    """tfmot#1140: "to_quantize can only either be a keras Sequential or Functional model", of a Functional model."""
    assert keras.__version__.startswith("3.")
    assert built.report("usual@qat")["top1"]["tflite"] > 90
    text = refused["of_keras_2"]
    assert "The model is a Keras 2 model, which TensorFlow 2.21 cannot run" in text
    assert 'Keras 2 (tf_keras), Functional model "old"' in text
    assert "hint: Build it with `import keras` (Keras 3)" in text


def test_every_variable_has_a_value_and_a_graph_that_trains_or_runs_is_not_rewritten(built: Built) -> None:
    """tensorflow#27880: uninitialised ranges with contrib.quantize and Keras; a rewrite behind the first session."""
    values = built.variables("usual@qat", "quantize")
    lows = {name.removesuffix("/min"): low for name, low in values.items() if name.endswith("_quant/min")}
    assert len(lows) > 5
    assert all(np.all(low < values[f"{name}/max"]) for name, low in lows.items())
    assert all(np.all(np.isfinite(value)) for value in values.values())
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, 8, 8, 1])
        kernel = v1.get_variable("kernel", [3, 3, 1, 4])
        net = tf.nn.relu(tf.nn.conv2d(images, kernel, strides=1, padding="SAME"))
        v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(net))
        with pytest.raises(RewriteError, match="already trains") as refused:
            create_training_graph(graph)
        assert "after the loss is built and before the optimizer's minimize()" in refused.value.hint
        graph.finalize()  # As MonitoredTrainingSession and Supervisor do.
        with pytest.raises(RewriteError, match="finalized") as refused:
            create_training_graph(graph)
        assert "before a session" in refused.value.hint
        with pytest.raises(StageError, match="neither in the checkpoint nor new") as unexplained:
            checkpoint.explain([kernel], restored=[], new=[])
    assert dict(unexplained.value.facts) == {"variables": "kernel"}


def test_a_program_of_pytorch_is_refused_with_the_road_to_take(refused: Mapping[str, str], tmp_path: Path) -> None:
    """litert-torch#178: `stablehlo.uniform_dequantize` is not legalized. PyTorch's own quantization is not our road."""
    text = refused["stablehlo"]
    assert "XlaCallModule: it is a whole program of PyTorch or JAX (StableHLO), whose layers cannot be read" in text
    assert follows("build its layers in Keras, copy the weights, save the model as .keras, and name that file") in text
    weights = np.random.default_rng(1).normal(size=(10, 64)).astype(np.float32)  # As torch.nn.Linear holds them.
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.layers[-1].set_weights([weights.T, np.zeros(10, np.float32)])
    model.save(tmp_path / "net.keras")
    images = np.random.default_rng(2).normal(size=(3, 8, 8, 1)).astype(np.float32)
    network = BuiltGraph({"keras": str(tmp_path / "net.keras")}, {"images": (8, 8, 1)}, {"labels": 10})
    assert np.allclose(network.run({"images": images})["labels"], images.reshape(3, 64) @ weights.T, atol=1e-5)
