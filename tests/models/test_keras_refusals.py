"""Layers of Keras without integer form are refused by their own names, and what the hints say is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize import check_network
from qatbuild.worker.models import keras_model
from tests.graph.integer_runtime import converted, network_graph, options
from tests.hints import follows

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
Body = Callable[[Any], Any]


def frames(x: Any) -> Any:
    return layers.Reshape((16, 16))(x)


def volume(x: Any) -> Any:
    return layers.Reshape((8, 8, 2, 2))(x)


def norm(x: Any) -> Any:
    return layers.BatchNormalization()(layers.Conv2D(4, 3)(x))


def convolved(x: Any) -> Any:
    return layers.Conv1D(4, 3, activation="relu")(frames(x))


def gate(x: Any) -> Any:
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return layers.Multiply()([x, layers.Dense(4, activation="sigmoid")(pooled)])


def activations(x: Any) -> Any:
    for name in ("relu", "relu6", "leaky_relu", "hard_silu", "silu", "sigmoid", "tanh"):
        x = layers.Conv2D(4, 3, padding="same", activation=name)(x)
    return x


def conv(x: Any) -> Any:
    return layers.Conv2D(4, 3, activation="relu")(x)


def in_time(layer: keras.Layer) -> Body:
    return lambda x: layer(frames(x))


class Inside(keras.layers.Layer):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.norm = layers.LayerNormalization(name="norm")

    def call(self, x):
        return self.norm(x)


class MyNorm(layers.LayerNormalization):
    pass


class MyLoop(layers.LSTM):
    pass


def unrolled(x: Any) -> Any:
    return layers.LSTM(4, unroll=True)(layers.Dropout(0.5)(frames(x)))


LOOPS = {
    "GRU": (layers.GRU(4, name="mine"), follows("write unroll=True, or set layer.unroll = True and save")),
    "LSTM": (layers.LSTM(4, name="mine"), "Conv1D"),
    "SimpleRNN": (layers.SimpleRNN(4, name="mine"), "unroll=True"),
}  # fmt: skip
OTHER_LOOPS = {
    "RNN": layers.RNN(layers.GRUCell(4), unroll=True, name="mine"),
    "MyLoop": MyLoop(4, unroll=True, name="mine"),
}
NORMS = {
    "LayerNormalization": layers.LayerNormalization(name="mine"),
    "GroupNormalization": layers.GroupNormalization(2, name="mine"),
    "RMSNormalization": layers.RMSNormalization(name="mine"),
    "UnitNormalization": layers.UnitNormalization(name="mine"),
    "MyNorm": MyNorm(name="mine"),
}
REFUSED: dict[str, tuple[Body, str, str, str, Body]] = {
    **{
        name: (in_time(layer), type(layer).__name__, "a recurrent loop", hint, unrolled)
        for name, (layer, hint) in LOOPS.items()
    },
    **{
        name: (in_time(layer), name, "a recurrent loop", follows("take convolutions over time (Conv1D"), convolved)
        for name, layer in OTHER_LOOPS.items()
    },
    "curved loop": (
        in_time(layers.LSTM(4, unroll=True, recurrent_activation="softplus", name="mine")), "LSTM", "activation",
        "hard_silu", unrolled,
    ),
    "ConvLSTM1D": (
        lambda x: layers.ConvLSTM1D(4, 3, name="mine")(layers.Reshape((4, 16, 4))(x)),
        "ConvLSTM1D", "a recurrent loop", "Conv1D", convolved,
    ),
    **{
        kind: (layer, kind, "each image's own statistics",
               follows("take keras.layers.BatchNormalization, behind a"), norm)
        for kind, layer in NORMS.items()
    },
    "MultiHeadAttention": (
        lambda x: layers.MultiHeadAttention(2, 4, name="mine")(frames(x), frames(x)),
        "MultiHeadAttention", "attention", follows("take convolutions, or a gate: keras.layers.Multiply"), gate,
    ),
    "Attention": (
        lambda x: layers.Attention(name="mine")([frames(x), frames(x)]), "Attention", "attention", "Multiply", gate
    ),
    "Embedding": (
        lambda x: layers.Embedding(9, 4, name="mine")(layers.Flatten()(x)), "Embedding", "whole numbers",
        follows("leave it out and prepare the dataset"), conv
    ),
    "Discretization": (
        lambda x: keras.ops.cast(layers.Discretization([0.0], name="mine")(x), "float32"),
        "Discretization", "whole numbers", "dataset", conv
    ),
    "Conv3D": (
        lambda x: layers.Conv3D(4, 2, name="mine")(volume(x)), "Conv3D", "three dimensions",
        follows("take the two-dimensional layer of that name"),
        lambda x: layers.Conv2D(4, 2)(layers.Reshape((8, 8, 4))(volume(x))),
    ),
    "MelSpectrogram": (
        lambda x: layers.MelSpectrogram(64, 32, sampling_rate=400, max_freq=200, name="mine")(layers.Flatten()(x)),
        "MelSpectrogram", "spectra", follows("leave it out and compute the spectra when"), conv,
    ),
    "Masking": (
        lambda x: layers.Masking(name="mine")(frames(x)) * 1.0, "Masking", "leaves steps out",
        follows("leave it out"), convolved
    ),
    "GELU": (
        layers.Activation("gelu", name="mine"), 'Activation("gelu")', "no form", "hard_silu", activations
    ),
    "mish": (
        layers.Conv2D(4, 3, activation="mish", name="mine"), "Conv2D", "no form",
        follows('take "relu", "relu6", "leaky_relu", "hard_silu"'), activations
    ),
    "ELU": (layers.ELU(name="mine"), "ELU", "no form", '"relu6"', activations),
    "threshold": (
        layers.ReLU(threshold=0.5, name="mine"), "ReLU", "a threshold",
        follows("take one of negative_slope and max_value, and no threshold"),
        lambda x: layers.ReLU(max_value=3.0)(layers.ReLU(negative_slope=0.1)(conv(x))),
    ),
    "channels first": (
        layers.Conv2D(4, 3, data_format="channels_first", name="mine"), "Conv2D", "channels first",
        "channels_last", conv,
    ),
}  # fmt: skip


def network(body: Body) -> Callable[..., tf.Tensor]:
    """Returns a network of the test's toolchain from a function of symbolic Keras tensors."""

    def built(images: tf.Tensor, training: bool) -> tf.Tensor:
        v1.set_random_seed(1)

        def draft(inputs: Mapping[str, tf.Tensor]) -> keras.Model:
            source = keras.Input(inputs["images"].shape[1:])
            return keras.Model(source, layers.Flatten()(body(source)), name="net")

        inputs = {"images": images}
        model = keras_model.drafted(draft, inputs)
        return keras_model.build(inputs, model, {"labels": "softmax"}, training=training)["labels"]

    return built


def refusal(body: Body, mode: str = "integer") -> RewriteError:
    graph, logits = network_graph(network(body))
    with pytest.raises(RewriteError, match="cannot be made fully integer") as refused:
        check_network(graph, "input", logits, {}, options(mode=mode))
    return refused.value


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_without_integer_form_is_called_by_its_name_and_class_and_its_hint_works(name: str) -> None:
    body, kind, why, hint, instead = REFUSED[name]
    error = refusal(body)
    assert [label for label, text in error.facts if text.startswith(kind) and why in text] == ["mine"]
    assert hint in error.hint
    graph, logits = network_graph(network(instead))
    check_network(graph, "input", logits, {}, options())
    if name != "channels first":  # which mode tf1 does not refuse by its layer
        assert refusal(body, "tf1").hint.startswith('with "mode": "integer": ')


def test_networks_that_follow_the_hints_are_fully_integer(tmp_path: Path) -> None:
    bodies = list(dict.fromkeys(instead for *_, instead in REFUSED.values()))

    def all_of_them(x: Any) -> Any:
        parts = [layers.Flatten()(body(x)) for body in bodies]
        return layers.Add()([layers.Dense(8)(part) for part in parts])

    outcome = converted(network(all_of_them), tmp_path)
    assert outcome.unsupported == ()
    assert outcome.lsb.max() <= 8
    assert len(np.unique(outcome.tflite)) > 10


def test_layers_inside_others_are_named_with_them() -> None:
    def inside(x: Any) -> Any:
        x = Inside(name="block")(x)
        return layers.Bidirectional(layers.LSTM(2, name="lstm"), name="both")(frames(x))

    facts = dict(refusal(inside).facts)
    assert facts["block/norm"].startswith("LayerNormalization")
    assert [label for label in facts if label.startswith("both/")] == ["both/forward_lstm", "both/backward_lstm"]


@pytest.mark.parametrize("mode", ["integer", "tf1"])
def test_operations_are_named_by_the_layer_in_which_they_are(mode: str) -> None:
    error = refusal(lambda x: keras.ops.roll(layers.Conv2D(4, 3, name="conv")(x), 1, axis=1), mode)
    assert [text.partition(":")[0] for _, text in error.facts if "Roll" in text] in (["Roll"], ["Roll, Roll"])


def test_a_network_behind_whole_numbers_or_a_loop_is_not_called_independent_of_its_input() -> None:
    error = refusal(lambda x: keras.ops.cast(keras.ops.argmax(x, axis=-1), "float32"))
    assert [text.partition(":")[0] for _, text in error.facts] == ["Argmax, ArgMax"]

    def loop(images: tf.Tensor, training: bool) -> tf.Tensor:  # noqa: ARG001
        v1.set_random_seed(1)
        return tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, tf.nn.relu(x)), [0, images])[1]

    graph, logits = network_graph(loop)
    with pytest.raises(RewriteError, match="Loop: the steps of a loop"):
        check_network(graph, "input", logits, {}, options())


def test_zeros_for_each_image_are_no_constant() -> None:
    def zeros(images: tf.Tensor, training: bool) -> tf.Tensor:  # noqa: ARG001
        v1.set_random_seed(1)
        x = tf.reshape(images, [-1, 256])
        weights = v1.get_variable("weights", [256, 256], use_resource=True)
        return x + tf.matmul(tf.zeros_like(x), weights)

    graph, logits = network_graph(zeros)
    with pytest.raises(RewriteError, match="the size of the batch"):
        check_network(graph, "input", logits, {}, options())
