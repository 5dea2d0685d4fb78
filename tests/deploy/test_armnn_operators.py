"""What Arm NN 20.08 does not read, or computes without half-pixel centres: tested with the real Arm NN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import DeployError
from qatbuild.worker.deploy import armnn
from qatbuild.worker.tflite.interpret import Model
from tests.deploy.subjects import classifier
from tests.graph.integer_runtime import IMAGES, converted
from tests.graph.networks import layer, variable
from tests.hints import follows
from tests.tflite.running import run

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("arm_nn")]
v1 = tf.compat.v1
Body = Callable[..., Any]


def behind_conv(function: Body) -> Body:
    """A network of a convolution and an operation on its result, [batch, 8, 8, 4]."""
    return lambda images, _: function(layer(images, "conv"))


def prelu(x: tf.Tensor) -> tf.Tensor:
    with tf.name_scope("slopes"):
        return tf.nn.relu(x) - variable("slopes/alpha", [4]) * tf.nn.relu(-x)


def outcome(body: Body, folder: Path) -> tuple[Any, int]:
    """The gate on known faults, and the largest difference from LiteRT in steps."""
    tflite = converted(body, folder).path
    reference = run(Model(tflite, kernels="reference"), IMAGES)
    subject = classifier(tflite, IMAGES, reference.reshape(len(IMAGES), -1), folder)
    (folder / "out").mkdir()
    made = armnn.build(subject, {"min_agreement": None}, folder / "out")
    (answers,) = made.answers.values()
    difference = 256 * np.abs(answers["labels"] - subject.reference["labels"]).max()
    return made.gates[0], round(difference)


@pytest.mark.parametrize(
    ("resize", "named"),
    [
        (lambda x: tf.image.resize(x, [16, 16]), "(RESIZE_BILINEAR, half-pixel centres)"),
        (lambda x: v1.image.resize_bilinear(x, [16, 16]), ""),
        (lambda x: tf.image.resize(x, [12, 12], "nearest"), "(RESIZE_NEAREST_NEIGHBOR, half-pixel centres)"),
        (lambda x: tf.image.resize(x, [16, 16], "nearest"), ""),
    ],
)
def test_a_resize_is_named_exactly_where_arm_nn_computes_another(resize: Body, named: str, tmp_path: Path) -> None:
    gate, most = outcome(behind_conv(resize), tmp_path)
    assert gate.got.endswith(named or "none")
    assert gate.passed == (not named)
    assert (most > 10) == bool(named)


@pytest.mark.parametrize(
    ("refused", "named", "instead", "hint"),
    [
        (
            lambda x: tf.reduce_max(x, [1, 2], name="greatest/Max"), "REDUCE_MAX (greatest)",
            lambda x: tf.nn.max_pool2d(x, 8, 1, "VALID"),
            follows("take a max pool as large as its input, such as MaxPooling2D((height, width))"),
        ),
        (prelu, "PRELU (slopes)", tf.nn.leaky_relu, follows("take LeakyReLU or ReLU")),
    ],
)  # fmt: skip
def test_an_operator_that_arm_nn_lacks_is_named_with_what_it_has(
    refused: Body, named: str, instead: Body, hint: str, tmp_path: Path
) -> None:
    for part in ("refused", "instead"):
        (tmp_path / part).mkdir()
    with pytest.raises(DeployError, match="Arm NN cannot run the model") as fault:
        outcome(behind_conv(refused), tmp_path / "refused")
    assert fault.value.hint == f"Arm NN 20.08 has no {named}: {hint}"
    gate, most = outcome(behind_conv(instead), tmp_path / "instead")
    assert gate.passed
    assert most <= 3
