"""The FakeQuants of a layer: layer x bias x activation x delay x kind of variable."""

from __future__ import annotations

import pytest
import tensorflow as tf

from qatbuild.quantize import (
    create_eval_graph,
    create_training_graph,
    experimental_create_eval_graph,
    experimental_create_training_graph,
)
from tests.graph.networks import fake_quants, images, layer, v1, variable

pytestmark = pytest.mark.tf

LAYER_OP = {"conv": "net/Conv2D", "depthwise": "net/depthwise", "dense": "net/MatMul"}
WEIGHTS = {"ref": "net/weights/read:0", "resource": "{layer_op}/ReadVariableOp:0"}


def one_layer(**columns):
    value = images((2, 12)) if columns["kind"] == "dense" else images()
    tf.nn.softmax(layer(value, "net", **columns), name="tail")


@pytest.fixture(params=["control_flow_v1", "control_flow_v2"])
def control_flow(request):
    """Run with either control flow; the process's setting must be the same afterwards."""
    was_v2 = v1.control_flow_v2_enabled()
    chosen_v2 = request.param == "control_flow_v2"
    (v1.enable_control_flow_v2 if chosen_v2 else v1.disable_control_flow_v2)()
    yield
    assert v1.control_flow_v2_enabled() == chosen_v2
    (v1.enable_control_flow_v2 if was_v2 else v1.disable_control_flow_v2)()


@pytest.mark.usefixtures("control_flow")
@pytest.mark.parametrize("variables", ["ref", "resource"])
@pytest.mark.parametrize("quant_delay", [0, 7])
@pytest.mark.parametrize(
    ("bias", "activation", "complete_at"),
    [
        ("bias_add", "relu", "net/activation:0"),
        ("bias_add", "relu6", "net/activation:0"),
        ("bias_add", "identity", "net/activation:0"),
        ("bias_add", "none", "net/biased:0"),
        ("bias_add", "tanh", "net/biased:0"),
        ("add", "relu", "net/activation:0"),
        ("addv2", "none", "net/biased:0"),
        ("none", "relu6", "net/activation:0"),
    ],
)
@pytest.mark.parametrize("kind", ["conv", "depthwise", "dense"])
def test_weights_and_the_end_of_the_layer_are_fake_quantized(  # noqa: PLR0917 - columns
    kind, bias, activation, complete_at, quant_delay, variables
):
    with tf.Graph().as_default() as graph:
        one_layer(kind=kind, bias=bias, activation=activation, variables=variables)
    report = create_training_graph(graph, quant_delay)
    after = "net/activation" if activation == "tanh" else "tail"
    weights = WEIGHTS[variables].format(layer_op=LAYER_OP[kind])
    assert fake_quants(graph) == {
        "net/weights_quant": (weights, [LAYER_OP[kind]]),
        "net/act_quant": (complete_at, [after]),
    }
    assert [each.min_variable for each in report.quantized] == ["net/weights_quant/min", "net/act_quant/min"]
    gates = [each.type for each in graph.get_operations() if each.name.endswith("delayed_quant/Merge")]
    assert gates == ["Merge"] * (2 if quant_delay else 0)


def test_eval_graph_has_the_training_graphs_ranges_and_no_assignments():
    names = []
    for create in (create_training_graph, create_eval_graph):
        with tf.Graph().as_default() as graph:
            one_layer(kind="conv")
        create(graph)
        names.append({each.name for each in graph.get_operations() if each.name.endswith(("_quant/min", "_quant/max"))})
    assert names[0] == names[1]
    assert not [each.name for each in graph.get_operations() if each.type in ("AssignSub", "AssignAdd")]


def test_weights_have_narrow_range_and_activations_have_not():
    with tf.Graph().as_default() as graph:
        one_layer(kind="conv")
        create_eval_graph()
    narrow = {each.name: each.get_attr("narrow_range") for each in graph.get_operations() if "FakeQuant" in each.type}
    assert narrow == {
        "net/weights_quant/FakeQuantWithMinMaxVars": True,
        "net/act_quant/FakeQuantWithMinMaxVars": False,
    }


@pytest.mark.parametrize("variables", ["ref", "resource"])
def test_weight_decay_still_reads_the_float_weights(variables):
    with tf.Graph().as_default():
        one_layer(kind="dense", variables=variables)
        with v1.variable_scope("net", reuse=True):
            decay = tf.nn.l2_loss(v1.get_variable("weights", use_resource=variables == "resource"))
        before = decay.op.inputs[0]
        create_training_graph()
    assert decay.op.inputs[0] is before
    assert "FakeQuant" not in before.op.type


@pytest.mark.parametrize("create", [create_training_graph, create_eval_graph])
@pytest.mark.parametrize("quant_delay", [0, 7])
def test_rewriting_twice_adds_nothing(create, quant_delay):
    with tf.Graph().as_default() as graph:
        hidden = tf.nn.dropout(layer(images((2, 12)), "first", "dense"), 0.5)  # its Mul is no folded weight
        tf.nn.softmax(layer(hidden, "second", "dense", activation="none"))
        create_training_graph(quant_delay=quant_delay)
        once = graph.as_graph_def()
        report = create()
    assert graph.as_graph_def() == once
    assert report.quantized == ()
    assert report.left_float == ()


def test_learnt_scale_in_front_of_a_layer_is_not_mistaken_for_weights():
    with tf.Graph().as_default() as graph:
        scaled = images((2, 12)) * variable("scale", [12])
        tf.nn.softmax(layer(scaled, "net", "dense"))
        create_training_graph()
        once = fake_quants(graph)
        create_training_graph()
    assert fake_quants(graph) == once
    assert once["net/weights_quant"][0] == "net/MatMul/ReadVariableOp:0"


def test_residual_addition_before_the_activation():
    with tf.Graph().as_default() as graph:
        shortcut = layer(images(), "block/first")
        residual = layer(shortcut, "block/second", activation="none")
        tf.nn.softmax(tf.nn.relu(tf.add(shortcut, residual, name="block/sum"), name="block/out"), name="tail")
        tf.nn.softmax(residual, name="other")  # conv_quant is for the addition alone, as in TF 1.10
        create_training_graph()
    assert fake_quants(graph) == {
        "block/first/weights_quant": ("block/first/Conv2D/ReadVariableOp:0", ["block/first/Conv2D"]),
        "block/first/act_quant": ("block/first/activation:0", ["block/second/Conv2D", "block/sum"]),
        "block/second/weights_quant": ("block/second/Conv2D/ReadVariableOp:0", ["block/second/Conv2D"]),
        "block/second/conv_quant": ("block/second/biased:0", ["block/sum"]),
        "block/act_quant": ("block/out:0", ["tail"]),
    }


def test_residual_addition_behind_a_linear_layer():
    with tf.Graph().as_default() as graph:
        shortcut = layer(images(), "block/first")
        residual = layer(shortcut, "block/second", activation="identity")
        tf.nn.softmax(tf.add(residual, shortcut, name="block/sum"), name="tail")
        create_training_graph()
    inserted = fake_quants(graph)
    assert inserted["block/second/act_quant"] == ("block/second/activation:0", ["block/sum"])
    assert inserted["block/post_activation_bypass_quant"] == ("block/sum:0", ["tail"])


def test_layers_in_one_scope_get_numbered_ranges():
    with tf.Graph().as_default() as graph:
        value = images()
        for name in "ab":
            value = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(value, variable(name, [1, 1, 3, 3]), 1, "SAME"), [0.0] * 3))
        tf.nn.softmax(value)
        report = create_eval_graph(graph)
    assert [each.min_variable for each in report.quantized] == [
        "weights_quant/min", "act_quant/min", "weights_quant_1/min", "act_quant_1/min",
    ]  # fmt: skip


def test_layers_that_share_weights_share_their_fake_quant():
    with tf.Graph().as_default() as graph:
        shared = tf.identity(variable("weights", [12, 4], "ref"))
        for name in ("left", "right"):
            value = v1.placeholder(tf.float32, [2, 12])
            tf.nn.softmax(tf.nn.relu(tf.matmul(value, shared, name=f"{name}/MatMul"), name=f"{name}/Relu"))
        report = create_training_graph(graph)
    assert fake_quants(graph)["left/weights_quant"][1] == ["left/MatMul", "right/MatMul"]
    assert [(each.layer, each.role) for each in report.shared] == [("right/MatMul", "weights_quant")]


def test_scope_of_the_caller_does_not_change_names():
    with tf.Graph().as_default():
        one_layer(kind="conv")
        with v1.name_scope("caller"), v1.variable_scope("caller"):
            create_eval_graph()
        ranges = {each.op.name for each in v1.global_variables() if "_quant/" in each.op.name}
    assert ranges == {f"net/{role}/{end}" for role in ("weights_quant", "act_quant") for end in ("min", "max")}


def test_layers_outside_of_the_scope_stay_float():
    with tf.Graph().as_default() as graph:
        tf.nn.softmax(layer(layer(images(), "net/a"), "net/ab"))
        experimental_create_eval_graph(graph, scope="net/a")
    assert set(fake_quants(graph)) == {"net/a/weights_quant", "net/a/act_quant"}


def test_bits_of_weights_and_activations_are_separate():
    with tf.Graph().as_default() as graph:
        one_layer(kind="conv")
        report = experimental_create_training_graph(weight_bits=4, activation_bits=7)
    assert [each.bits for each in report.quantized] == [4, 7]
    kernels = [each for each in graph.get_operations() if each.type == "FakeQuantWithMinMaxVars"]
    assert [each.get_attr("num_bits") for each in kernels] == [4, 7]


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: layer(images(), "net", bias="none", activation="tanh"), "no bias and no ReLU"),
        (lambda: tf.matmul(images((4, 4)), images((4, 4)), name="net/MatMul"), "neither operand is a variable"),
        (lambda: tf.nn.relu(tf.matmul(images((4, 4)), tf.ones([4, 4]), name="net/MatMul")), "Placeholder and Const"),
    ],
)
def test_layer_that_stays_float_is_reported_with_its_reason(build, reason):
    with tf.Graph().as_default() as graph:
        tf.nn.softmax(build())
        tf.nn.softmax(layer(v1.placeholder(tf.float32, [2, 6, 6, 3]), "other"))
        report = create_eval_graph(graph)
    (left,) = report.left_float
    assert left.layer == "net"
    assert reason in left.reason
    assert reason in report.to_json()
