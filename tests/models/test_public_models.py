"""MLPerf Tiny's trained networks, as a user brings them: each computes what its file computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.worker.models import keras_files
from tests.conftest import SHARED
from tests.models.graphs import Built, drawn

pytestmark = [pytest.mark.tf, pytest.mark.shared("models")]

v1 = tf.compat.v1
MODELS = SHARED / "models"


@pytest.mark.parametrize(
    ("name", "shape", "end", "scale"),
    [
        ("ad", (640,), "", 10.0),
        ("resnet8", (32, 32, 3), "softmax", 255.0),
        ("sww", (30, 1, 40), "softmax", 1.0),
        ("vww", (96, 96, 3), "softmax", 1.0),
    ],
)
def test_keras_file_computes_what_keras_predicts(name: str, shape: tuple[int, ...], end: str, scale: float) -> None:
    path, arrays = MODELS / f"mlperf_tiny_{name}.h5", drawn({"input": shape}, scale)
    model = keras_files.load(path).model
    expected = np.asarray(model([arrays["input"]], training=False))
    built = Built({"keras": str(path)}, {"input": shape}, {"output": None}, {"output": end})
    np.testing.assert_allclose(built.run(arrays)["output"], expected, atol=1e-5)


def test_saved_model_of_keras_2_computes_what_its_signature_does() -> None:
    path, arrays = MODELS / "mlperf_tiny_kws_saved_model", drawn({"features": (49, 10, 1)})
    with tf.Graph().as_default(), v1.Session() as session:
        signature: Any = v1.saved_model.load(session, ["serve"], str(path)).signature_def["serving_default"]
        fed, read = signature.inputs["input_1"].name, signature.outputs["dense"].name
        expected = session.run(read, {fed: arrays["features"]})
    spec = {"saved_model": str(path)}
    built = Built(spec, {"features": (49, 10, 1)}, {"labels": 12}, {"labels": "softmax"}, training=True)
    np.testing.assert_allclose(built.run(arrays)["labels"], expected, atol=1e-5)
    assert built.tensors["labels"].op.name == "functional_1/dense/BiasAdd"
    assert {"conv2d/kernel", "batch_normalization_8/gamma", "dense/bias"} < built.trainable
    assert "batch_normalization_8/moving_mean" in set(built.variables) - built.trainable
