"""Arm NN 20.08 pads some quantized tensors with raw zeros: tested with the real Arm NN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.worker.deploy import armnn
from qatbuild.worker.tflite.interpret import Model
from tests.deploy.subjects import classifier, converted

v1 = tf.compat.v1
CHANNELS = 4


def graph(then: str, lowest: float) -> Any:
    """A convolution with the range from `lowest`, a PAD, the layers of `then`, and a softmax of 4 classes."""
    random = np.random.default_rng(1)

    def ranged(tensor: Any, low: float, high: float, *, narrow: bool = False) -> Any:
        return tf.quantization.fake_quant_with_min_max_vars(tensor, low, high, narrow_range=narrow)

    def weights(*shape: int) -> Any:
        values = (random.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype(np.float32)
        return ranged(values, values.min(), values.max(), narrow=True)

    def biased(tensor: Any) -> Any:
        return tf.nn.bias_add(tensor, np.full(tensor.shape[-1], 0.1, np.float32))

    with tf.Graph().as_default() as made:
        images = v1.placeholder(tf.float32, [None, 8, 8, 1], name="input")
        net = ranged(biased(v1.nn.conv2d(images, weights(3, 3, 1, CHANNELS), padding="SAME")), lowest, 4)
        net = tf.pad(net, [[0, 0], [2, 0], [2, 0], [0, 0]], name="Net/block/Pad")
        if then == "pool":
            net = v1.nn.avg_pool(net, 2, 2, "VALID")
        else:
            net = ranged(
                tf.nn.relu(biased(v1.nn.conv2d(net, weights(3, 3, CHANNELS, CHANNELS), padding="VALID"))), 0, 4
            )
        size = int(np.prod(net.shape[1:]))
        net = ranged(biased(tf.matmul(tf.reshape(net, [-1, size]), weights(size, 4))), -4, 4)
        tf.nn.softmax(net, name="Softmax")
    return made.as_graph_def()


@pytest.mark.tf
@pytest.mark.usefixtures("arm_nn")
@pytest.mark.parametrize(
    ("then", "lowest", "named", "most_lsb"),
    [("pool", -4, ["block (PAD, zero point 128)"], 256), ("pool", 0, [], 3), ("convolution", -4, [], 3)],
)
def test_pad_is_named_exactly_where_arm_nn_computes_it_wrongly(
    tmp_path: Path, then: str, lowest: float, named: list[str], most_lsb: float
) -> None:
    path, model = tmp_path / "graph.pb", tmp_path / "model.tflite"
    path.write_bytes(graph(then, lowest).SerializeToString())
    model.write_bytes(converted(path))
    images = np.random.default_rng(2).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    reference = Model(model, (["images"], ["labels"]), kernels="reference").run({"images": images})
    subject = classifier(model, images, reference["labels"], tmp_path)
    (tmp_path / "out").mkdir()
    outcome = armnn.build(subject, {"min_agreement": None}, tmp_path / "out")
    (fault,) = outcome.gates
    assert fault.got == (", ".join(named) or "none")
    assert fault.passed == (not named)
    (answers,) = outcome.answers.values()
    difference = 256 * np.abs(answers["labels"] - subject.reference["labels"]).max()
    assert difference <= most_lsb
    assert (difference > 30) == bool(named)
