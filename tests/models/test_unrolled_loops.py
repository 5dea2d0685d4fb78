"""Unrolled recurrent layers compute what Keras computes."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

from tests.models.graphs import Built, drawn

pytestmark = pytest.mark.tf

SHAPES = {"frames": (5, 3)}
LOOPS = {
    "simple": L.SimpleRNN(4, unroll=True),
    "simple_without_bias": L.SimpleRNN(4, unroll=True, use_bias=False, activation="relu"),
    "lstm": L.LSTM(4, unroll=True),
    "lstm_without_bias": L.LSTM(4, unroll=True, use_bias=False, recurrent_activation="hard_sigmoid"),
    "lstm_backwards": L.LSTM(4, unroll=True, go_backwards=True, return_sequences=True),
    "gru": L.GRU(4, unroll=True),
    "gru_sequence": L.GRU(4, unroll=True, return_sequences=True),
    "gru_reset_before": L.GRU(4, unroll=True, reset_after=False),
    "gru_without_bias": L.GRU(4, unroll=True, use_bias=False),
    "both": L.Bidirectional(L.GRU(4, unroll=True, return_sequences=True)),
}


def model() -> keras.Model:
    """Each of the loops, and one that begins with the state that another has ended with."""
    frames = keras.Input(SHAPES["frames"], name="frames")
    outputs = {name: layer(frames) for name, layer in LOOPS.items()}
    _, *state = L.LSTM(4, unroll=True, return_state=True)(frames)
    outputs["decoder"] = L.LSTM(4, unroll=True)(frames, initial_state=state)
    net = keras.Model(frames, outputs, name="net")
    random = np.random.default_rng(1)
    for variable in net.variables:
        variable.assign(random.uniform(-1, 1, variable.shape))
    return net


def test_each_computes_what_keras_computes(tmp_path: Path) -> None:
    net, arrays = model(), drawn(SHAPES)
    net.save(tmp_path / "net.keras")
    expected = net.predict(arrays["frames"], verbose=0)
    built = Built({"keras": str(tmp_path / "net.keras")}, SHAPES, dict.fromkeys(expected))
    for name, result in built.run(arrays).items():
        np.testing.assert_allclose(result, expected[name], atol=1e-5, err_msg=name)


def test_no_operation_is_made_for_the_size_of_a_batch(tmp_path: Path) -> None:
    frames = keras.Input(SHAPES["frames"])
    keras.Sequential([frames, L.GRU(4, unroll=True, name="gru")], name="net").save(tmp_path / "net.keras")
    built = Built({"keras": str(tmp_path / "net.keras")}, SHAPES, {"labels": None})
    assert not {"Shape", "Fill", "ZerosLike", "While", "TensorListReserve"} & built.kinds
    names = [each.name for each in built.graph.get_operations() if each.type == "MatMul"]
    assert names[:3] == [f"net/gru/{each}/MatMul" for each in ("step0/values", "step1/values", "step1/state")]
