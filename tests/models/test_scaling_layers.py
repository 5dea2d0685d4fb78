"""Layers of Keras that scale by constants: what they compute, and which of them scale the images a second time."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.exchange.errors import StageError
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker import models
from qatbuild.worker.training.inference import inference
from qatbuild.worker.training.session import session
from tests.hints import follows
from tests.models.classifier import classifier
from tests.training import applications

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
layers = keras.layers
BYTES = np.random.default_rng(1).integers(0, 256, [6, 8, 8, 3]).astype(np.float32)
MEANS, DEVIATIONS = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
First = Callable[[], Sequence[keras.Layer]]


def to_unit() -> list[keras.Layer]:
    return [layers.Rescaling(1 / 255, name="to_unit")]


def to_both_sides() -> list[keras.Layer]:
    return [layers.Rescaling(1 / 127.5, offset=-1, name="to_both_sides")]


def imagenet() -> list[keras.Layer]:
    return [layers.Normalization(mean=MEANS, variance=np.square(DEVIATIONS), name="imagenet")]


def caffe() -> list[keras.Layer]:
    return [layers.Rescaling([1.0, 1.0, 1.0], offset=[-103.939, -116.779, -123.68], name="caffe")]


def shifted() -> list[keras.Layer]:
    return [layers.Rescaling(1 / 255, offset=0.1, name="shifted")]


def adapted() -> list[keras.Layer]:
    layer = layers.Normalization(name="adapted")
    layer.adapt(BYTES * np.array([1, 0.5, 0.25], np.float32))
    return [layer]


def by_place() -> list[keras.Layer]:
    layer = layers.Normalization(axis=(1, 2, 3), name="by_place")
    layer.adapt(BYTES)
    return [layer]


def inverted() -> list[keras.Layer]:
    return [layers.Normalization(mean=MEANS, variance=[0.1, 0.2, 0.3], invert=True, name="inverted")]


def built(*parts: First) -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    for layer in (each for part in parts for each in part()):
        x = layer(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    return keras.Model(inputs, layers.Dense(10, name="logits")(layers.Flatten()(x)), name="scaled")


@pytest.mark.parametrize(
    ("parts", "products", "sums"),
    [
        ([to_unit], 1, 0),
        ([to_both_sides], 1, 1),
        ([to_unit, imagenet], 1, 1),
        ([caffe], 0, 1),
        ([adapted], 1, 1),
        ([by_place], 1, 1),
        ([inverted], 1, 1),
        ([lambda: [layers.Rescaling(1.0, name="nothing")]], 0, 0),
        ([to_unit, lambda: [layers.ReLU(), layers.Rescaling(0.3, name="inside")]], 2, 0),
    ],
)
def test_copy_computes_what_keras_does_with_one_product_and_one_sum(
    parts: list[First], products: int, sums: int, tmp_path: Path
) -> None:
    model = built(*parts)
    model.save(tmp_path / "net.keras")
    network = networks.read({"keras": str(tmp_path / "net.keras")})
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, 8, 8, 3], name="input")
        logits = classifier(images, network, training=False)
        variables = {each.op.name: each for each in v1.global_variables()}
    values = models.initial({"images": (8, 8, 3)}, network)
    assert values is not None
    assert set(values) == set(variables)
    with session(graph, 1) as opened:
        opened.run([each.initializer for each in variables.values()], {
            each.initial_value: values[name] for name, each in variables.items()
        })  # fmt: skip
        got = opened.run(logits, {images: BYTES})
    expected = model.predict(BYTES, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    read = v1.graph_util.extract_sub_graph(graph.as_graph_def(), [logits.op.name])
    kinds = Counter(each.op for each in read.node)
    assert (kinds["Mul"], kinds["AddV2"], kinds["RealDiv"]) == (products, sums, 0)


NET = """
import keras, tests.models.test_scaling_layers as own
def net(images, classes, *, training, parts):
    return own.built(*(getattr(own, each) for each in parts))
"""


@pytest.fixture(autouse=True)
def _network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scalednet.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "scalednet", raising=False)


def checked(scaling: Scaling, *parts: str) -> None:
    """Build the graphs of the stages for a network of the user's own function."""
    network = networks.read({"call": "scalednet:net", "options": {"parts": parts}})
    inference(applications.classifier(network, (8, 8, 3), 10, scaling))


@pytest.mark.parametrize(
    ("parts", "scaling"),
    [
        (["to_unit", "imagenet"], Scaling(0, 1)),
        (["to_both_sides"], Scaling(0, 1)),
        (["shifted"], Scaling(0, 1)),
        (["imagenet"], Scaling(0, 255)),
        (["caffe"], Scaling(0, 1)),
        (["inverted"], Scaling(0, 255)),
    ],
)
def test_layers_that_complete_the_scaling_of_the_spec_are_a_part_of_the_network(
    parts: list[str], scaling: Scaling
) -> None:
    checked(scaling, *parts)


WITH_BYTES = 'ive the input images "mean": 0, "std_dev": 1: the network then gets bytes, and scales them in integers.'


@pytest.mark.parametrize(
    ("parts", "layer", "numbers", "hint"),
    [
        (
            ["to_both_sides"],
            "to_both_sides",
            "(x - 127.5) / 127.5",
            'Leave to_both_sides out and give the input images "mean": 127.5, "std_dev": 127.5; or g' + WITH_BYTES,
        ),
        (
            ["to_unit"],
            "to_unit",
            "(x - 0) / 255",
            'Leave to_unit out and give the input images "mean": 0, "std_dev": 255; or g' + WITH_BYTES,
        ),
        (
            ["to_unit", "imagenet"],
            "to_unit, imagenet",
            "(x - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]",
            'Leave to_unit and imagenet out and give the input images "mean": [123.675, 116.28, 103.53], '
            '"std_dev": [58.395, 57.12, 57.375] (different means if the first layer does not pad); or g' + WITH_BYTES,
        ),
        (["shifted"], "shifted", "(x - -25.5) / 255", "G" + WITH_BYTES),
    ],
)
def test_layers_that_scale_again_are_named_with_the_numbers_of_all_channels_and_the_hint_works(
    parts: list[str], layer: str, numbers: str, hint: str
) -> None:
    with pytest.raises(StageError, match="that the spec has scaled already") as refused:
        checked(Scaling(128, 128), *parts)
    assert refused.value.facts == [("input", "images: mean 128, std_dev 128"), (layer, numbers)]
    assert refused.value.hint == hint
    checked(Scaling(0, 1), *parts)
    for mean, std_dev in re.findall(r'out and give the input images "mean": (.*?), "std_dev": (.*?)(?: \(|; or)', hint):
        checked(Scaling.of({"mean": json.loads(mean), "std_dev": json.loads(std_dev)}))
    assert follows(" out and give the input ") in hint or hint.startswith("G")
