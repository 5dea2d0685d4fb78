"""A network's inference graph as bytes: what is read is the graph that was built, and is rewritten alike."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from qatbuild.exchange.networks import Called, Network, Shipped
from qatbuild.exchange.scaling import Scaling
from qatbuild.quantize.options import Options
from qatbuild.worker.stages.rewriting import Quantizer
from qatbuild.worker.training.frozen import without_weights
from qatbuild.worker.training.inference import Inference, inference
from tests.training.applications import classifier

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
BYTES = Scaling(128.0, 64.0)


def blocks(images: tf.Tensor, classes: int, *, training: bool) -> keras.Model:  # noqa: ARG001
    """Two branches of convolutions, batch norms and a swish, which join."""
    pixels = keras.Input(tuple(images.shape[1:]))
    wide = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(pixels))
    deep = keras.layers.DepthwiseConv2D(3, padding="same")(keras.layers.Activation("silu")(wide))
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([wide, deep]))
    return keras.Model(pixels, keras.layers.Dense(classes)(mean), name="blocks")


NETWORKS: dict[str, tuple[Network, Quantizer]] = {
    "keras": (Called(f"{__name__}:blocks", {}), Quantizer(Options(128, 64.0, mode="integer", scheme="int8"), {})),
    "shipped": (Shipped("digitsnet", {}), Quantizer(Options(128, 64.0), {})),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_graph_that_is_read_is_rewritten_to_the_same_bytes_as_the_one_that_was_built(kind: str) -> None:
    network, asked = NETWORKS[kind]
    built = inference(classifier(network, (8, 8, 1), 10, BYTES))
    read = Inference.parsed(built.serialized(), built.inputs, built.tensors, built.outputs)
    graphs = []
    for each in (built, read):
        as_float = without_weights(each).SerializeToString(deterministic=True)
        asked.inference(each.graph, each.inputs, each.tensors)
        graphs.append((as_float, without_weights(each).SerializeToString(deterministic=True)))
    assert graphs[0] == graphs[1]
    assert graphs[0][0] != graphs[0][1]


def test_equal_networks_are_equal_bytes_and_keep_their_variables() -> None:
    network, _ = NETWORKS["shipped"]
    first, second = (inference(classifier(network, (8, 8, 1), 10, BYTES)) for _ in range(2))
    assert first.serialized() == second.serialized()
    read = Inference.parsed(first.serialized(), first.inputs, first.tensors, first.outputs)
    named = []
    for each in (first, read):
        with each.graph.as_default():
            named.append([(variable.op.name, variable.initializer.name) for variable in v1.global_variables()])
    assert named[0] == named[1] != []
