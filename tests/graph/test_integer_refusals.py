"""Networks that cannot become fully integer are refused before any edit: by layer, with reason and hint."""

from __future__ import annotations

import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize import Override, check_network, plan_inference, rewrite_inference, rewrite_training
from tests.graph.integer_runtime import network_graph, options
from tests.graph.networks import folding_layer, layer, v1, variable

pytestmark = pytest.mark.tf


def atrous(x):
    x = tf.space_to_batch(x, [2, 2], [[2, 2], [2, 2]])
    with v1.variable_scope("atrous"):
        x = tf.nn.conv2d(x, variable("weights", [3, 3, 4, 4]), 2, "VALID", name="Conv2D")
    return tf.nn.relu(tf.batch_to_space(x, [2, 2], [[0, 0], [0, 0]]))


def attention(x):
    x = tf.reshape(layer(x, "conv"), [64, 4])
    return tf.reshape(tf.matmul(x, x, transpose_b=True, name="attention/MatMul"), [1, 4096])


def twice(x):
    """One layer twice on the same input, with different activations."""
    weights = variable("weights", [3, 3, 4, 4])
    one, other = (tf.nn.conv2d(x, weights, 1, "SAME", name="c/Conv2D") for _ in range(2))
    return tf.nn.relu(one) + other


def other_axis(x):
    with v1.name_scope("norm"):
        factor, shift = tf.fill([1, 8, 1], 0.5), tf.zeros([1, 8, 1])
        return tf.nn.batch_normalization(x, shift, factor, shift, factor, 1e-3)


def dilated_transposed(x):
    with v1.variable_scope("up"):
        shape = [tf.shape(x)[0], 8, 8, 5]
        return tf.nn.conv2d_transpose(x, variable("weights", [3, 3, 5, 4]), shape, 1, "SAME", dilations=2, name="up")


def dilated_and_normed(x):
    norm = [tf.fill([5], each) for each in (0.0, 1.0, 0.0, 1.0)]
    return tf.nn.batch_normalization(dilated_transposed(x), *norm, 1e-3)


REFUSED = {
    "dilated transposed": (dilated_transposed, "up", "transposed convolution with dilations", "UpSampling2D"),
    "explicit pool": (
        lambda x: tf.nn.max_pool2d(layer(x, "c"), 2, 2, [[0, 0], [1, 1], [1, 1], [0, 0]], name="pool/MaxPool"),
        "pool", "SAME or VALID", "tf.pad",
    ),
    "pooled channels": (
        lambda x: tf.nn.avg_pool2d(layer(x, "c"), [1, 1, 1, 2], [1, 1, 1, 2], "SAME", name="pool/AvgPool"),
        "pool", "not across", "1 x 1",
    ),
    "absolute": (lambda x: tf.abs(layer(x, "c"), name="abs/Abs"), "abs", "Abs: it is not among", "relu(-x)"),
    "no hint of its own": (lambda x: tf.sin(layer(x, "c"), name="sin/Sin"), "sin", "Sin: it is not", "concatenations"),
    "lrn": (lambda x: tf.nn.lrn(layer(x, "c"), name="norm1"), "norm1", "LRN: local response", "leave it out"),
    "dropout": (lambda x: tf.nn.dropout(layer(x, "c"), 0.5, name="drop"), "drop", "random numbers", "where training"),
    "noise": (lambda x: x + tf.random.normal([8, 8, 4]), "add", "Dropout: it draws random numbers", "where training"),
    "elu": (lambda x: tf.nn.elu(layer(x, "c"), name="act/Elu"), "act", "Elu: it is not among", "leaky ReLU"),
    "sum": (lambda x: tf.reduce_sum(layer(x, "c"), [1, 2], name="sum/Sum"), "sum", "compute wrongly", "the mean"),
    "power": (lambda x: tf.pow(layer(x, "c"), 3.0, name="three/Pow"), "three", "Pow: only the second", "by itself"),
    "clip": (lambda x: tf.maximum(layer(x, "c"), 1.0, name="clip/Maximum"), "clip", "leaves 0 in", "contains 0"),
    "twice": (twice, "c", "Repeated: c computes the same", "use its result twice"),
    "axis": (lambda x: other_axis(layer(x, "c")), "norm/batchnorm", "not normalize the last axis", "the last axis"),
    "division": (lambda x: tf.divide(1.0, layer(x, "c") + 1.0, name="one/by"), "one", "division by anything but", ""),
    "part that is not read": (
        lambda x: tf.unstack(layer(x, "c"), axis=3, name="parts/unstack")[2], "parts", "not all of its parts", "slicing"
    ),
    "attention": (attention, "attention", "both its operands", ""),
    "atrous": (atrous, "atrous", "SpaceToBatchND", "dilations"),
    "batch statistics": (lambda x: folding_layer(x, "c"), "c/BatchNorm", "each batch's own", "moving averages"),
    "standardization": (
        lambda x: layer(tf.image.per_image_standardization(x), "c"),
        "per_image_standardization", "each image gets a scale", '"mean"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_names_layer_reason_and_hint_and_changes_nothing(name):
    body, where, why, hint = REFUSED[name]
    graph, logits = network_graph(lambda x, _: body(x))
    before = graph.as_graph_def()
    texts = []
    for ask in (
        lambda: rewrite_inference(graph, options(), input="input", logits=logits),
        lambda: plan_inference(graph, options(), input="input", logits=logits),
        lambda: check_network(graph, "input", logits, {}, options()),
    ):
        with pytest.raises(RewriteError, match="cannot be made fully integer") as caught:
            ask()
        texts.append(str(caught.value))
    assert len(set(texts)) == 1
    assert [label for label, text in caught.value.facts if why in text] == [where]
    assert hint in caught.value.hint
    assert graph.as_graph_def() == before


def test_all_unsupported_operations_are_named_at_once_with_the_networks_own_hints():
    graph, logits = network_graph(lambda x, _: tf.nn.elu(tf.nn.lrn(layer(x, "c"), name="norm1"), name="act/Elu"))
    with pytest.raises(RewriteError) as caught:
        check_network(graph, "input", logits, {"LRN": '"lrn": false'}, options())
    assert [label for label, _ in caught.value.facts] == ["norm1", "act"]
    assert caught.value.hint.startswith('"lrn": false (for LRN)')


@pytest.mark.parametrize("scheme", ["int8", "int8_per_channel"])
@pytest.mark.parametrize("mode", ["integer", "tf1"])
def test_operations_without_an_int8_kernel_are_refused_only_for_int8(mode, scheme):
    graph, logits = network_graph(lambda x, _: tf.tile(tf.nn.depth_to_space(layer(x, "c"), 2), [1, 1, 1, 2]))
    check_network(graph, "input", logits, {}, options(mode=mode))
    if (mode, scheme) != ("tf1", "int8_per_channel"):
        with pytest.raises(RewriteError) as caught:
            check_network(graph, "input", logits, {}, options(scheme, mode=mode))
        assert [why.partition(":")[0] for _, why in caught.value.facts] == ["DepthToSpace", "Tile"]
        assert '"scheme": "uint8"' in caught.value.hint


def test_operations_that_do_not_lead_to_the_logits_are_ignored():
    graph, logits = network_graph(lambda x, _: layer(x, "c"))
    with graph.as_default():
        tf.nn.elu(graph.get_tensor_by_name("c/activation:0"))
    check_network(graph, "input:0", f"{logits}:0", {}, options())


def test_dropout_is_accepted_in_training():
    graph, logits = network_graph(lambda x, _: tf.nn.dropout(layer(x, "c"), 0.5), training=True)
    report = rewrite_training(graph, options(), input="input", logits=logits)
    assert [each.role for each in report.quantized].count("act_quant") == 2


@pytest.mark.parametrize(
    ("override", "fragments"),
    [
        (Override("conv9", range=(0, 1)), ["matches no layer", "conv9", "c, d, logits"]),
        (Override("logits", keep_float=True), ["fully integer", "the model's output would be float"]),
    ],
)
def test_overrides_that_match_nothing_or_make_the_logits_float_are_refused(override, fragments):
    graph, logits = network_graph(lambda x, _: layer(layer(x, "c"), "d"))
    before = graph.as_graph_def()
    with pytest.raises(RewriteError) as caught:
        rewrite_inference(graph, options(overrides=(override,)), input="input", logits=logits)
    assert all(each in str(caught.value) for each in fragments)
    assert graph.as_graph_def() == before


@pytest.mark.parametrize("names", [("input", "nowhere"), ("nowhere", "logits/BiasAdd"), ("logits/weights", "input")])
def test_tensors_that_do_not_exist_or_are_not_connected_are_refused(names):
    graph, _ = network_graph(lambda x, _: layer(x, "c"))
    with pytest.raises(RewriteError, match=r"no such tensor|do not depend"):
        rewrite_inference(graph, options(), input=names[0], logits=names[1])


def test_a_network_without_a_layer_is_refused():
    with tf.Graph().as_default() as graph:
        tf.nn.softmax(tf.reshape(v1.placeholder(tf.float32, [1, 4], name="input"), [1, 4], name="logits"))
    with pytest.raises(RewriteError, match="no layer that could be quantized"):
        rewrite_inference(graph, options(), input="input", logits="logits")
