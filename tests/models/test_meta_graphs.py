"""Networks cut out of TF 1 meta graphs: the operations taken, those left out, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.exchange.errors import StageError
from qatbuild.worker.models import layers
from tests.hints import follows
from tests.models.classifier import classifier

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
Network = Callable[[tf.Tensor], tf.Tensor]


def small(images: tf.Tensor) -> tf.Tensor:
    net = layers.conv(images, 4, 3, scope="net/conv1")
    return layers.dense(layers.flatten(net), 10, scope="net/logits", activation=None)


def normalized(*, training: bool, fused: bool = True) -> Network:
    def network(images: tf.Tensor) -> tf.Tensor:
        net = layers.conv(images, 4, 3, scope="net/conv1", activation=None)
        if fused:
            net = layers.batch_norm(training=training)(net)
        else:
            net = tf.nn.batch_normalization(net, *tf.nn.moments(net, [0, 1, 2]), None, None, 1e-3)
        return layers.dense(layers.flatten(net), 10, scope="net/logits", activation=None)

    return network


def with_old_dropout(images: tf.Tensor) -> tf.Tensor:
    """Dropout as TF 1.10 built it: floor(keep + uniform) times values / keep."""
    net = layers.flatten(images)
    with v1.name_scope("dropout"):
        mask = tf.floor(0.5 + tf.random.uniform(tf.shape(net), seed=1))
        net = (net / 0.5) * mask
    return layers.dense(net, 10, scope="net/logits", activation=None)


def with_new_dropout(images: tf.Tensor) -> tf.Tensor:
    """Dropout as TF 1.15 built it: values * 1 / keep, times a cast comparison."""
    net = layers.flatten(images)
    with v1.name_scope("dropout"):
        mask = tf.cast(tf.random.uniform(tf.shape(net), seed=1) >= 0.5, tf.float32)
        net = (net * 2.0) * mask
    return layers.dense(net, 10, scope="net/logits", activation=None)


def with_a_training_flag(images: tf.Tensor) -> tf.Tensor:
    return small(images) * v1.placeholder(tf.float32, [], name="strength")


def saved(folder: Path, network: Network, batch: int | None = None) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """A meta graph with a loss and an optimizer in it, and the values of its variables."""
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(3)
        images = v1.placeholder(tf.float32, [batch, 6, 6, 3], name="input")
        logits = network(images)
        loss = tf.reduce_mean(tf.square(tf.nn.softmax(logits)))
        v1.train.MomentumOptimizer(0.1, 0.9).minimize(loss, v1.train.get_or_create_global_step())
        session.run(v1.global_variables_initializer())
        values = session.run({each.op.name: each for each in v1.global_variables()})
        v1.train.export_meta_graph(str(folder / "net.meta"))
        return {"meta_graph": str(folder / "net.meta"), "input": "input:0", "logits": logits.name}, values


def built(model: dict[str, str], images: np.ndarray, values: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.placeholder(tf.float32, name="net/conv1/Conv2D")  # a name that is taken
        real = v1.placeholder(tf.float32, [None, 6, 6, 3], name="images")
        logits = classifier(real, networks.read(model), training=False)
        session.run(v1.global_variables_initializer())
        variables = v1.global_variables()
        feed = {each.initial_value: values[each.op.name] for each in variables}
        session.run([each.initializer for each in variables], feed)
        assert {each.op.name for each in v1.trainable_variables()} == {
            each.op.name for each in variables if "moving" not in each.op.name
        }
        return session.run(logits, {real: images}), [each.type for each in graph.get_operations()]


@pytest.mark.parametrize("batch", [None, 5])
def test_path_from_images_to_logits_takes_any_batch(batch: int | None, tmp_path: Path) -> None:
    model, values = saved(tmp_path, small, batch)
    images = np.random.default_rng(1).random([3, 6, 6, 3], np.float32)
    logits, kinds = built(model, images, values)
    convolved = np.maximum(tf.nn.conv2d(images, values["net/conv1/weights"], 1, "SAME"), 0)
    expected = convolved.reshape(3, -1) @ values["net/logits/weights"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert not any("Momentum" in kind for kind in kinds)


@pytest.mark.parametrize("network", [with_old_dropout, with_new_dropout])
def test_dropout_is_left_out(network: Network, tmp_path: Path) -> None:
    model, values = saved(tmp_path, network)
    images = np.random.default_rng(1).random([3, 6, 6, 3], np.float32)
    logits, kinds = built(model, images, values)
    np.testing.assert_allclose(logits, images.reshape(3, -1) @ values["net/logits/weights"], rtol=1e-4, atol=1e-5)
    assert not any(kind.startswith("RandomUniform") for kind in kinds)


def test_batch_norm_of_an_inference_is_taken_with_its_moving_averages(tmp_path: Path) -> None:
    model, values = saved(tmp_path, normalized(training=False))
    built(model, np.zeros([1, 6, 6, 3], np.float32), values)
    assert any("moving_mean" in name for name in values)


@pytest.mark.parametrize(
    ("network", "changes", "fragments"),
    [
        (normalized(training=True), {}, ["is a training graph", "FusedBatchNormV3", "is_training=False"]),
        (normalized(training=True, fused=False), {}, ["is a training graph", "SquaredDifference"]),
        (with_a_training_flag, {}, ["other inputs than the images", "strength"]),
        (small, {"input": "inputs:0"}, ["no such tensor", "model.input", "inputs:0", "input"]),
        (small, {"logits": "net/logits/BiasAd"}, ["no such tensor", "model.logits", "net/logits/MatMul"]),
        (small, {"logits": "global_step:0"}, ["do not depend on the input"]),
        (small, {"logits": "net/conv1/Relu"}, ["did not return logits", "net.meta"]),
        (small, {"meta_graph": "nowhere.meta"}, ["meta graph does not exist"]),
    ],
)
def test_meta_graph_without_the_named_network_is_refused(
    network: Network, changes: dict[str, str], fragments: list[str], tmp_path: Path
) -> None:
    model, _ = saved(tmp_path, network)
    with tf.Graph().as_default():
        images = v1.placeholder(tf.float32, [None, 6, 6, 3], name="images")
        with pytest.raises(StageError) as refused:
            classifier(images, networks.read({**model, **changes}), training=False)
    for fragment in fragments:
        assert fragment in refused.value.block()


@pytest.mark.parametrize("content", [b"", b"no protobuf at all \xff\xff"])
def test_file_that_is_no_meta_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.meta").write_bytes(content)
    model = {"meta_graph": str(tmp_path / "net.meta"), "input": "input:0", "logits": "logits:0"}
    with tf.Graph().as_default(), pytest.raises(StageError, match="meta graph"):
        classifier(v1.placeholder(tf.float32, [None, 6, 6, 3]), networks.read(model), training=False)


def masked(images: tf.Tensor) -> tf.Tensor:
    real = tf.multiply(images, v1.placeholder(tf.float32, [], name="mask"), name="real")
    return small(real)


@pytest.mark.parametrize(
    ("network", "hint", "followed", "changes"),
    [
        (masked, follows("Set model.input to the tensor of real images behind the input pipeline"), masked,
         {"input": "real:0"}),
        (normalized(training=True), follows("Build the network with is_training=False, and export its graph with"),
         normalized(training=False), {}),
        (None, follows("The path is relative to the spec"), small, {}),
    ],
)  # fmt: skip
def test_a_meta_graph_that_follows_the_hint_is_read(
    network: Network | None, hint: str, followed: Network, changes: dict[str, str], tmp_path: Path
) -> None:
    model = {"meta_graph": str(tmp_path / "net.meta"), "input": "input:0", "logits": "net/logits/BiasAdd:0"}
    if network is not None:
        model, _ = saved(tmp_path, network)
    with tf.Graph().as_default(), pytest.raises(StageError) as refused:
        classifier(v1.placeholder(tf.float32, [None, 6, 6, 3]), networks.read(model), training=False)
    assert hint in refused.value.hint
    model, values = saved(tmp_path, followed)
    assert built({**model, **changes}, np.zeros([1, 6, 6, 3], np.float32), values)
