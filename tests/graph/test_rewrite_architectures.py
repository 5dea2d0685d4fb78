"""Building blocks of networks without a golden graph: the ranges they get, and the layers reported as float."""

from __future__ import annotations

import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize import check_network, create_eval_graph, experimental_create_training_graph
from tests.graph.networks import batch_norm, fake_quants, folding_layer, images, layer, v1

pytestmark = pytest.mark.tf


class Builder:
    """Builds layers with biases, or with batch norms of one form, for a training or an inference graph."""

    def __init__(self, form, *, training):
        self.form, self.training = form, training

    def layer(self, value, name, activation="relu", kind="conv", channels=4):
        if self.form == "biases":
            return layer(value, name, kind, activation=activation, channels=channels)
        return folding_layer(value, name, kind, activation, channels, form=self.form, training=self.training)

    def norm(self, value, name):
        """A batch norm and a ReLU without a layer in front; only the ReLU in a network with biases."""
        with v1.variable_scope(name):
            if self.form != "biases":
                value = batch_norm(value, self.form, self.training)
            return tf.nn.relu(value, name="Relu")

    def end(self, name):
        """The last tensor of a layer without activation."""
        return f"{name}/biased:0" if self.form == "biases" else f"{name}/add_fold:0"


def inverted_residual(build):
    """MobileNet v2: expand, depthwise, project linearly, add."""
    start = build.layer(images(), "net/Conv", "relu6")
    value = build.layer(start, "net/block/expand", "relu6", channels=8)
    value = build.layer(value, "net/block/depthwise", "relu6", "depthwise")
    value = build.layer(value, "net/block/project", "identity")
    value = tf.add(value, start, name="net/block/add")
    return build.layer(value, "net/Conv_1", "relu6")


def bottleneck(build):
    """ResNet v1: a projected shortcut, then an identity shortcut."""
    start = build.layer(images(), "net/root")
    shortcut = build.layer(start, "net/unit_1/shortcut", "none", channels=6)
    value = build.layer(build.layer(start, "net/unit_1/conv1"), "net/unit_1/conv3", "none", channels=6)
    start = tf.nn.relu(tf.add(shortcut, value, name="net/unit_1/add"), name="net/unit_1/Relu")
    value = build.layer(build.layer(start, "net/unit_2/conv1"), "net/unit_2/conv3", "none", channels=6)
    return tf.nn.relu(tf.add(start, value, name="net/unit_2/add"), name="net/unit_2/Relu")


def pre_activation(build):
    """ResNet v2: norm and ReLU in front of the layers, a last layer with bias, the shortcut around all of them."""
    start = layer(images(), "net/root", activation="none")
    value = build.norm(start, "net/unit/preact")
    value = build.layer(value, "net/unit/conv1")
    value = layer(value, "net/unit/conv3", activation="none")
    return build.norm(tf.add(start, value, name="net/unit/add"), "net/postnorm")


def inception(build):
    """Inception v3's deepest module: branches that branch again, factorized convolutions, a pool in front of one."""
    start = build.layer(images(), "net/Conv")
    branch_0 = build.layer(start, "net/Mixed/Branch_0/a")
    branch_1 = build.layer(start, "net/Mixed/Branch_1/a")
    branch_1 = tf.concat([build.layer(branch_1, f"net/Mixed/Branch_1/{name}") for name in "bc"], 3)
    branch_2 = build.layer(build.layer(start, "net/Mixed/Branch_2/a"), "net/Mixed/Branch_2/b")
    branch_2 = tf.concat([build.layer(branch_2, f"net/Mixed/Branch_2/{name}") for name in "cd"], 3)
    branch_3 = build.layer(tf.nn.avg_pool2d(start, 3, 1, "SAME"), "net/Mixed/Branch_3/b")
    return build.layer(tf.concat([branch_0, branch_1, branch_2, branch_3], 3, name="net/Mixed/concat"), "net/last")


def vgg(build):
    """VGG: plain layers, pools, dense layers as convolutions, dropout in training."""
    value = build.layer(build.layer(images(), "net/conv1_1"), "net/conv1_2")
    value = build.layer(tf.nn.max_pool2d(value, 2, 2, "VALID"), "net/conv2_1")
    value = build.layer(tf.nn.max_pool2d(value, 3, 3, "VALID"), "net/fc6")
    value = tf.nn.dropout(value, 0.5, name="net/dropout6") if build.training else value
    return layer(value, "net/fc8", activation="none")


def rewritten(network, form, *, training, freeze=None):
    with tf.Graph().as_default() as graph:
        value = network(Builder(form, training=training))
        tf.nn.softmax(tf.squeeze(tf.reduce_mean(value, [1, 2], keepdims=True), [1, 2]), name="Softmax")
        report = experimental_create_training_graph(freeze_bn_delay=freeze) if training else create_eval_graph()
    return graph, report


modes = pytest.mark.parametrize(
    ("training", "freeze"), [(True, None), (True, 5), (False, None)], ids=["training", "to be frozen", "inference"]
)
forms = pytest.mark.parametrize("form", ["biases", "FusedBatchNormV3", "unfused"])


@modes
@forms
@pytest.mark.parametrize(
    ("network", "layers", "at_activation", "elsewhere"),
    [
        (
            inverted_residual,
            ["net/Conv", "net/block/expand", "net/block/depthwise", "net/block/project", "net/Conv_1"],
            ["net/Conv", "net/block/expand", "net/block/depthwise", "net/block/project", "net/Conv_1"],
            {"net/block/post_activation_bypass_quant": "net/block/add:0"},
        ),
        (
            bottleneck,
            ["net/root", *(f"net/unit_1/{name}" for name in ("shortcut", "conv1", "conv3")),
             "net/unit_2/conv1", "net/unit_2/conv3"],
            ["net/root", "net/unit_1/conv1", "net/unit_2/conv1"],
            {"net/unit_1/shortcut/conv_quant": "end", "net/unit_1/conv3/act_quant": "end",
             "net/unit_1/act_quant": "net/unit_1/Relu:0",
             "net/unit_2/conv3/conv_quant": "end", "net/unit_2/act_quant": "net/unit_2/Relu:0"},
        ),
        (
            inception,
            [names := ["net/Conv", "net/last", *(f"net/Mixed/Branch_{each}" for each in
             ("0/a", "1/a", "1/b", "1/c", "2/a", "2/b", "2/c", "2/d", "3/b"))]][0],
            names,
            {},
        ),
        (
            vgg,
            ["net/conv1_1", "net/conv1_2", "net/conv2_1", "net/fc6", "net/fc8"],
            ["net/conv1_1", "net/conv1_2", "net/conv2_1", "net/fc6"],
            {"net/fc8/act_quant": "net/fc8/biased:0"},
        ),
    ],
    ids=["inverted residual", "bottleneck", "inception", "vgg"],
)  # fmt: skip
def test_ranges_of_a_block(network, layers, at_activation, elsewhere, form, training, freeze):  # noqa: PLR0917 - columns
    graph, report = rewritten(network, form, training=training, freeze=freeze)
    inserted = fake_quants(graph)
    ends = {name: Builder(form, training=training).end(name.rpartition("/")[0]) for name in elsewhere}
    expected = {f"{name}/act_quant": f"{name}/activation:0" for name in at_activation}
    expected |= {name: ends[name] if tensor == "end" else tensor for name, tensor in elsewhere.items()}
    assert {name: tensor for name, (tensor, _) in inserted.items() if not name.endswith("weights_quant")} == expected
    assert {name for name in inserted if name.endswith("weights_quant")} == {f"{name}/weights_quant" for name in layers}
    assert all(consumers for _, consumers in inserted.values())
    assert report.left_float == ()
    biased = {"net/fc8"} if network is vgg else set()
    assert len(report.folded) == (0 if form == "biases" else len(set(layers) - biased))


@pytest.mark.parametrize("network", [inverted_residual, bottleneck, inception, vgg])
@forms
def test_block_is_accepted_before_training(network, form):
    with tf.Graph().as_default() as graph:
        tf.identity(tf.reduce_mean(network(Builder(form, training=False)), [1, 2], keepdims=True), name="logits")
    before = graph.as_graph_def()
    check_network(graph, "input", "logits", {})
    assert graph.as_graph_def() == before


@modes
@pytest.mark.parametrize("form", ["FusedBatchNormV3", "unfused"])
def test_batch_norm_in_front_of_the_layers_stays_float_and_is_reported(form, training, freeze):
    graph, report = rewritten(pre_activation, form, training=training, freeze=freeze)
    assert {name: tensor for name, (tensor, _) in fake_quants(graph).items() if "act" in name} == {
        "net/root/act_quant": "net/root/biased:0",
        "net/unit/conv1/act_quant": "net/unit/conv1/activation:0",
        "net/unit/conv3/act_quant": "net/unit/conv3/biased:0",
    }
    assert [each.layer for each in report.folded] == ["net/unit/conv1/Conv2D"]
    assert [each.operation.split("/BatchNorm")[0] for each in report.left_float] == ["net/unit/preact", "net/postnorm"]
    assert "BiasAdd does" in report.left_float[0].reason
    assert "Add" in report.left_float[1].reason


def test_ranges_of_a_pre_activation_block_without_batch_norms():
    graph, report = rewritten(pre_activation, "biases", training=True)
    assert {name: tensor for name, (tensor, _) in fake_quants(graph).items() if "weights" not in name} == {
        "net/root/act_quant": "net/unit/preact/Relu:0",
        "net/unit/conv1/act_quant": "net/unit/conv1/activation:0",
        "net/unit/conv3/conv_quant": "net/unit/conv3/biased:0",
        "net/unit/act_quant": "net/postnorm/Relu:0",
    }
    assert report.left_float == ()


@pytest.mark.parametrize("form", ["FusedBatchNormV3", "unfused"])
def test_batch_norm_in_front_of_the_layers_is_refused_before_training(form):
    with tf.Graph().as_default() as graph:
        tf.identity(pre_activation(Builder(form, training=False)), name="logits")
    with pytest.raises(RewriteError) as caught:
        check_network(graph, "input", "logits", {})
    labels = [label.split("/BatchNorm")[0] for label, _ in caught.value.facts]
    assert labels == ["net/unit/preact", "net/unit", "net/postnorm"]  # the addition's range would be in its layer
    assert "BiasAdd does" in caught.value.facts[0][1]
    assert "directly behind a convolution or dense layer" in caught.value.hint
