"""The structure of folded graphs: layer x form of the batch norm x activation x delay x statistics."""

from __future__ import annotations

import pytest
import tensorflow as tf

from qatbuild.quantize import create_eval_graph, create_training_graph, experimental_create_training_graph
from tests.graph.networks import FUSED, batch_norm, fake_quants, folding_layer, images, layer, v1

pytestmark = pytest.mark.tf

LAYER_OP = {"conv": "net/Conv2D", "depthwise": "net/depthwise", "dense": "net/MatMul"}
FORMS = [*FUSED, "unfused", "shifted"]


def one_layer(kind="conv", **columns):
    return folding_layer(images((2, 12)) if kind == "dense" else images(), "net", kind, **columns)


def one_layer_graph(rewrite, activation="relu", **columns):
    """Return the rewritten graph of a layer and a softmax, and the report."""
    with tf.Graph().as_default() as graph:
        tf.nn.softmax(one_layer(activation=activation, **columns), name="tail")
    return graph, rewrite(graph)


def training(quant_delay=0, freeze=None):
    return lambda graph: experimental_create_training_graph(graph, quant_delay=quant_delay, freeze_bn_delay=freeze)


STATISTICS = {  # how the graph is rewritten, and whether its batch norm normalizes with its batches
    "training": (training(), True),
    "training, delayed": (training(quant_delay=7), True),
    "training, to be frozen": (training(freeze=5), True),
    "training, delayed, to be frozen": (training(quant_delay=7, freeze=5), True),
    "training, frozen from the start": (training(), False),
    "training, frozen from the start, to be frozen": (training(freeze=5), False),
    "inference": (create_eval_graph, False),
}
ROWS = [
    *((form, "relu", statistics) for form in FORMS for statistics in STATISTICS),
    *(
        ("FusedBatchNormV3", activation, statistics)
        for activation in ("relu6", "identity", "tanh", "none")
        for statistics in ("training", "training, delayed, to be frozen", "inference")
    ),
]


@pytest.mark.parametrize(("form", "activation", "statistics"), ROWS)
@pytest.mark.parametrize("kind", ["conv", "depthwise", "dense"])
def test_folded_weights_and_the_end_of_the_layer_are_fake_quantized(kind, form, activation, statistics):
    rewrite, with_batches = STATISTICS[statistics]
    graph, report = one_layer_graph(rewrite, activation, kind=kind, form=form, training=with_batches)
    ends_in_activation = activation in ("relu", "relu6", "identity")
    assert fake_quants(graph) == {
        "net/weights_quant": ("net/mul_fold:0", [f"{LAYER_OP[kind]}_Fold"]),
        "net/act_quant": (
            "net/activation:0" if ends_in_activation else "net/add_fold:0",
            ["net/activation" if activation == "tanh" else "tail"],
        ),
    }
    assert [each.layer for each in report.folded] == [LAYER_OP[kind]]
    assert report.left_float == ()
    assert [each.layer for each in report.quantized] == [f"{LAYER_OP[kind]}_Fold"] * 2


@pytest.mark.parametrize("form", ["FusedBatchNormV3", "unfused"])
@pytest.mark.parametrize(
    "columns",
    [
        {"variables": "ref"},
        {"update": "blend"},
        {"update": "blend", "variables": "ref"},
        {"identity": True},
        {"forced": True},
        {"forced": True, "identity": True},
        {"forced": True, "kind": "dense"},
        {"forced": True, "kind": "dense", "activation": "identity"},
        {"forced": True, "kind": "dense", "variables": "ref"},
        {"forced": True, "activation": "none"},
    ],
    ids=lambda columns: " ".join(f"{key}={value}" for key, value in columns.items()),
)
@pytest.mark.parametrize("freeze", [None, 5])
def test_batch_norms_built_in_several_ways_are_folded(columns, form, freeze):
    _, report = one_layer_graph(training(freeze=freeze), form=form, **columns)
    end = "net/add_fold:0" if columns.get("activation") == "none" else "net/activation:0"
    assert [each.tensor for each in report.quantized] == ["net/mul_fold:0", end]
    assert len(report.folded) == 1
    assert report.left_float == ()


@pytest.mark.parametrize("form", ["FusedBatchNormV3", "unfused"])
def test_folded_result_still_waits_for_the_moving_averages(form):
    graph, _ = one_layer_graph(training(), form=form, kind="dense", forced=True)
    end = graph.get_operation_by_name("net/activation").inputs[0].op
    assert end.type == "Identity"
    assert sorted(each.type for each in end.control_inputs) == ["AssignSubVariableOp"] * 2
    assert end.inputs[0].op.name == "net/add_fold"


@pytest.mark.parametrize("form", ["FusedBatchNorm", "unfused"])
def test_moving_average_is_read_before_it_is_updated(form):
    graph, _ = one_layer_graph(training(), form=form, variables="ref")
    updates = [each for each in graph.get_operations() if each.type == "AssignSub" and "moving_variance" in
               each.inputs[0].name]  # fmt: skip
    assert [[each.name for each in update.control_inputs] for update in updates] == [
        ["net/BatchNorm_Fold/batch_norm_correction/add"]
    ]


@pytest.mark.parametrize("form", ["FusedBatchNormV3", "unfused"])
def test_atrous_convolution_in_space_and_batch(form):
    with tf.Graph().as_default() as graph:
        blocks = tf.space_to_batch(images(), [2, 2], [[2, 2], [2, 2]])
        value = layer(blocks, "net", bias="none", activation="none")
        value = tf.batch_to_space(value, [2, 2], [[2, 2], [2, 2]], name="net/BatchToSpaceND")
        tf.nn.softmax(tf.nn.relu(batch_norm(value, form), name="net/Relu"), name="tail")
        report = create_training_graph(graph)
    assert [each.tensor for each in report.quantized] == ["net/mul_fold:0", "net/Relu:0"]
    assert graph.get_operation_by_name("net/post_conv_mul").inputs[1].op.type == "BatchToSpaceND"


@pytest.mark.parametrize("freeze", [None, 5])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("create", [create_training_graph, create_eval_graph])
def test_rewriting_twice_adds_nothing(form, create, freeze):
    graph, _ = one_layer_graph(training(2, freeze), form=form)
    once = graph.as_graph_def()
    report = create(graph)
    assert graph.as_graph_def() == once
    assert (report.folded, report.quantized, report.left_float) == ((), (), ())


def test_unread_batch_norm_stays():
    with tf.Graph().as_default() as graph:
        one_layer()
        value = layer(images(), "other", bias="none", activation="none")
        batch_norm(value)
        tf.nn.relu(value, name="other/Relu")
        report = create_training_graph(graph)
    assert [each.layer for each in report.folded] == ["net/Conv2D"]
    assert "other/Relu:0" in [each.tensor for each in report.quantized]


def test_folding_ignores_the_scope_filter_and_the_callers_scope():
    with tf.Graph().as_default() as graph:
        one_layer()
        tf.nn.softmax(folding_layer(images(), "other"))
        with v1.name_scope("caller"), v1.variable_scope("caller"):
            report = experimental_create_training_graph(graph, scope="other")
    assert [each.layer for each in report.folded] == ["net/Conv2D", "other/Conv2D"]
    assert [each.tensor for each in report.quantized] == ["other/mul_fold:0", "other/activation:0"]


def test_inference_graph_has_the_training_graphs_variables():
    names = []
    for rewrite, with_batches in ((training(2, 5), True), (create_eval_graph, False)):
        graph, _ = one_layer_graph(rewrite, training=with_batches)
        with graph.as_default():
            names.append({each.op.name for each in v1.global_variables()})
    assert {each for each in names[0] - names[1] if not each.endswith(("biased", "local_step"))} == {
        "fake_quantization_step"
    }
    assert names[1] <= names[0]
