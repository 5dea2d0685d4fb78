"""The check refuses operations by layer and reason, and agrees with the converter about each of them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize import check_network, create_eval_graph
from tests.graph.networks import batch_norm, folding_layer, images, layer, v1

pytestmark = pytest.mark.tf


def lrn(value):
    return tf.nn.lrn(value, name="norm1")


def normalized(value, **form):
    """A convolution, its batch norm in inference form, and a ReLU."""
    return folding_layer(value, "conv2", **{"training": False, **form})


def dense(value, form):
    flat = folding_layer(tf.reshape(value, [1, -1]), "c", "dense", channels=36, form=form, training=False)
    return tf.reshape(flat, [1, 3, 3, 4])


def standalone(value, form):
    with v1.variable_scope("pre"):
        return tf.nn.relu(batch_norm(tf.nn.max_pool2d(value, 2, 1, "SAME"), form, training=False))


def nothing(value):
    return value


def network(middle, before=nothing):
    """input -> `before` -> conv1 -> `middle` -> conv3 -> logits -> softmax, all in the scope Net."""
    with tf.Graph().as_default() as graph:
        start = images((1, 6, 6, 3))
        with v1.variable_scope("Net"):
            value = layer(before(start), "conv1")
            value = tf.reshape(layer(middle(value), "conv3"), [1, -1])
            logits = layer(value, "logits", "dense", activation="none")
            tf.nn.softmax(logits, name="Softmax")
    return graph, logits.op.name


def refusal(middle, before=nothing, hints=None):
    graph, logits = network(middle, before)
    before_check = graph.as_graph_def()
    with pytest.raises(RewriteError) as caught:
        check_network(graph, "input", logits, hints or {})
    assert graph.as_graph_def() == before_check
    return caught.value


@pytest.mark.parametrize(
    ("middle", "layer_named", "fragment"),
    [
        (lrn, "norm1", "LRN: local response normalization"),
        (lambda x: standalone(x, "FusedBatchNorm"), "pre/BatchNorm", "BatchNorm: no convolution or dense layer"),
        (lambda x: standalone(x, "unfused"), "pre/BatchNorm/batchnorm", "in front of it (MaxPool does)"),
        (lambda x: normalized(x, training=True), "conv2/BatchNorm", "each batch's own statistics"),
        (lambda x: batch_norm(layer(x, "conv2"), training=False), "BatchNorm", "in front of it (Relu does)"),
        (lambda x: tf.nn.dropout(x, 0.5, name="drop"), "drop", "Dropout: it draws random numbers"),
        (lambda x: x + tf.random.normal(x.shape, name="noise"), "add", "Dropout: it draws random numbers"),
        (lambda x: tf.nn.elu(x, name="act/Elu"), "act", "Elu: "),
        (lambda x: tf.nn.leaky_relu(x, name="act/Leaky"), "act", "LeakyRelu: "),
        (lambda x: layer(x, "conv2", bias="none", activation="tanh"), "conv2", "no bias and no ReLU"),
        (lambda x: tf.add(tf.nn.max_pool2d(x, 2, 2, "SAME"), 1.0, name="plus/one"), "plus", "nothing gives its output"),
        (lambda x: tf.nn.relu(tf.reshape(x, x.shape), name="late/Relu"), "late", "Relu: nothing gives its output"),
        (lambda x: tf.nn.relu(layer(x, "conv2", bias="none", activation="none") + x), "conv2", "nothing gives"),
    ],
)  # fmt: skip
def test_refusal_names_layer_kind_and_reason(middle, layer_named, fragment):
    error = refusal(middle)
    assert [label for label, _ in error.facts] == [layer_named]
    assert fragment in error.facts[0][1]


def test_unfused_batch_norm_with_the_batchs_statistics_is_named_with_its_moments():
    error = refusal(lambda x: normalized(x, form="unfused", training=True))
    assert [label for label, _ in error.facts] == ["conv2/BatchNorm/moments", "conv2/BatchNorm/batchnorm"]
    assert "is_training is True" in error.facts[1][1]


def test_per_image_standardization_is_refused_with_a_hint():
    error = refusal(nothing, before=lambda x: tf.image.per_image_standardization(tf.identity(x)))
    assert [kind.partition(":")[0] for _, kind in error.facts] == ["PerImageStandardization"]
    assert '"mean"' in error.hint


def test_all_unsupported_operations_are_named_at_once_with_the_callers_hints():
    error = refusal(lambda x: tf.nn.elu(lrn(x), name="act/Elu"), hints={"LRN": '"lrn": false'})
    assert [label for label, _ in error.facts] == ["norm1", "act"]
    assert error.hint.startswith('"lrn": false (for LRN)')


def test_only_the_path_from_input_to_logits_counts():
    graph, logits = network(nothing)
    with graph.as_default():
        lrn(graph.get_tensor_by_name("Net/conv1/activation:0"))
    check_network(graph, "input:0", logits + ":0", {})


def test_logits_that_do_not_depend_on_the_input_are_refused():
    graph, logits = network(nothing)
    with graph.as_default():
        v1.placeholder(tf.float32, [1], name="other")
    with pytest.raises(RewriteError, match="do not depend"):
        check_network(graph, "other", logits, {})


def test_missing_operation_is_named():
    graph, logits = network(nothing)
    with pytest.raises(RewriteError, match="inputs"):
        check_network(graph, "inputs", logits, {})


def float_tensors(middle):
    """The float tensors of the quantized network's .tflite."""
    graph, _ = network(middle)
    create_eval_graph(graph)
    with graph.as_default(), v1.Session() as session:
        session.run(v1.global_variables_initializer())
        frozen = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["Net/Softmax"])
    graph_file = "frozen.pb"
    tf.io.write_graph(frozen, ".", graph_file, as_text=False)
    converter = v1.lite.TFLiteConverter.from_frozen_graph(graph_file, ["input"], ["Net/Softmax"])
    converter.inference_type = tf.uint8
    converter.quantized_input_stats = {"input": (121, 64)}
    model = Interpreter(model_content=converter.convert())
    model.allocate_tensors()
    return [tensor["name"] for tensor in model.get_tensor_details() if tensor["dtype"] == np.float32]


def accepted(middle):
    graph, logits = network(middle)
    try:
        check_network(graph, "input", logits, {})
    except RewriteError:
        return False
    return True


@pytest.mark.parametrize(
    ("middle", "integer"),
    [
        pytest.param(middle, integer, id=name)
        for name, integer, middle in [
            ("nothing", True, nothing),
            ("max pool", True, lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME")),
            ("average pool", True, lambda x: tf.nn.avg_pool2d(x, 2, 2, "SAME")),
            ("relu behind a pool", True,
             lambda x: tf.nn.relu(tf.nn.max_pool2d(layer(x, "c", activation="none"), 2, 2, "SAME"))),
            ("mean", True, lambda x: tf.reduce_mean(x, [1, 2], keepdims=True)),
            ("max", True, lambda x: tf.reduce_max(x, [1, 2], keepdims=True)),
            ("concat", True, lambda x: tf.concat([layer(x, "left"), layer(x, "right"), x], 3)),
            ("pad", True, lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])),
            ("mirror pad", True, lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")),
            ("pad with a value", True, lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=1.0)),
            ("transpose", True, lambda x: tf.transpose(x, [0, 2, 1, 3])),
            ("strided slice", True, lambda x: x[:, 1:5, 1:5, :]),
            ("slice", True, lambda x: tf.slice(x, [0, 1, 1, 0], [1, 4, 4, 4])),
            ("split", True, lambda x: tf.concat(tf.split(x, 2, 3), 3)),
            ("tile", True, lambda x: tf.tile(x, [1, 1, 2, 1])),
            ("gather", True, lambda x: tf.gather(x, [0, 2, 4], axis=1)),
            ("stack", True, lambda x: tf.reshape(tf.stack([x, x], 3), [1, 6, 12, 4])),
            ("squeeze", True, lambda x: tf.squeeze(tf.expand_dims(x, 1), [1])),
            ("resize bilinear", True, lambda x: v1.image.resize_bilinear(x, [12, 12])),
            ("resize nearest", True, lambda x: v1.image.resize_nearest_neighbor(x, [12, 12])),
            ("depth to space", True, lambda x: tf.nn.depth_to_space(x, 2)),
            ("space to depth", True, lambda x: tf.nn.space_to_depth(x, 2)),
            ("sigmoid", True, tf.nn.sigmoid),
            ("softmax", True, tf.nn.softmax),
            ("tanh", True, tf.nn.tanh),
            ("residual, then relu", True, lambda x: tf.nn.relu(layer(x, "c", activation="none") + x)),
            ("residual behind a linear layer", True, lambda x: layer(x, "c", activation="identity") + x),
            ("layer without bias", True, lambda x: layer(x, "c", bias="none")),
            ("fused batch norm", True, normalized),
            ("unfused batch norm", True, lambda x: normalized(x, form="unfused")),
            ("batch norm behind a depthwise layer", True, lambda x: normalized(x, kind="depthwise")),
            ("batch norm behind a dense layer", True, lambda x: dense(x, "unfused")),
            ("fused batch norm behind a dense layer", True, lambda x: dense(x, "FusedBatchNormV3")),
            ("linear bottleneck", True, lambda x: normalized(x, activation="identity") + x),
            ("batch norm behind a bias", False, lambda x: tf.nn.relu(
                batch_norm(layer(x, "c", activation="none"), training=False))),
            ("depthwise", True, lambda x: layer(x, "c", "depthwise", activation="relu6")),
            ("local response normalization", False, lrn),
            ("fused batch norm alone", False, lambda x: standalone(x, "FusedBatchNormV3")),
            ("elu", False, tf.nn.elu),
            ("leaky relu", False, tf.nn.leaky_relu),
            ("negation", False, tf.negative),
            ("absolute value", False, tf.abs),
            ("sum", False, lambda x: tf.reduce_sum(x, [1, 2], keepdims=True)),
        ]
    ],
)  # fmt: skip
def test_check_agrees_with_the_converter(middle, integer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert accepted(middle) == integer
    assert (float_tensors(middle) == []) == integer
