"""Graphs that cannot be rewritten are refused by name, and are not changed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize import (
    Options,
    create_eval_graph,
    create_training_graph,
    experimental_create_eval_graph,
    experimental_create_training_graph,
)
from tests.graph.networks import batch_norm, folding_layer, images, layer, v1
from tests.hints import follows

pytestmark = pytest.mark.tf


def refusal(graph, create=create_training_graph, **options):
    before = graph.as_graph_def()
    with pytest.raises(RewriteError) as caught:
        create(graph, **options)
    assert graph.as_graph_def() == before
    return str(caught.value)


@pytest.fixture
def control_flow_v1():
    was_v2 = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    yield
    (v1.enable_control_flow_v2 if was_v2 else v1.disable_control_flow_v2)()


@pytest.fixture
def graph():
    with tf.Graph().as_default() as graph:
        tf.reduce_mean(layer(images(), "net"), name="loss")
    return graph


@pytest.mark.parametrize("variables", ["ref", "resource"])
@pytest.mark.parametrize(
    ("optimizer", "operation"),
    [(v1.train.GradientDescentOptimizer(0.1), "ApplyGradientDescent"), (v1.train.AdamOptimizer(), "ApplyAdam"),
     (v1.train.MomentumOptimizer(0.1, 0.9), "ApplyMomentum")],
)  # fmt: skip
@pytest.mark.parametrize("create", [create_training_graph, create_eval_graph])
def test_graph_with_an_optimizer(create, optimizer, operation, variables):
    with tf.Graph().as_default() as graph:
        optimizer.minimize(tf.reduce_mean(layer(images(), "net", variables=variables)))
    text = refusal(graph, create)
    assert "already trains" in text
    assert operation in text
    assert "before the optimizer" in text


def test_graph_without_a_layer():
    with tf.Graph().as_default() as graph:
        tf.nn.relu(images())
    assert "no layer that could be quantized" in refusal(graph)


def test_default_graph_without_a_layer():
    with tf.Graph().as_default(), pytest.raises(RewriteError, match="no layer"):
        create_eval_graph()


def test_graph_whose_layers_all_stay_float_names_them():
    with tf.Graph().as_default() as graph:
        layer(images(), "net", bias="none", activation="tanh")
    text = refusal(graph)
    assert "no layer that could be quantized" in text
    assert "net/Conv2D" in text
    assert "Tanh follows" in text


def test_finalized_graph(graph):
    graph.finalize()
    assert "finalized" in refusal(graph)


def test_graph_inside_a_function():
    @tf.function
    def network(value):
        with pytest.raises(RewriteError, match=r"tf\.function"):
            create_eval_graph()
        return value

    network(tf.zeros([1]))


@pytest.mark.parametrize("form", ["FusedBatchNormV3", "unfused"])
@pytest.mark.parametrize(
    ("create", "columns", "why"),
    [
        (create_training_graph, {"update": None}, "nothing in the graph keeps moving averages"),
        (create_training_graph, {"update": "zero_debias"}, "without zero_debias"),
        (create_eval_graph, {}, "each batch's own statistics"),
    ],
)
def test_batch_norm_that_cannot_be_folded_into_its_layer(create, columns, why, form):
    with tf.Graph().as_default() as graph:
        folding_layer(images(), "net", form=form, **columns)
        layer(v1.placeholder(tf.float32, [1, 6, 6, 3]), "other")
    text = refusal(graph, create)
    assert "net/Conv2D" in text
    assert "BatchNorm: net/BatchNorm" in text
    assert why in text


@pytest.mark.usefixtures("control_flow_v1")
def test_batch_norm_that_switches_at_run_time_is_reported():
    with tf.Graph().as_default() as graph:
        tf.nn.softmax(layer(images(), "other"))
        value = layer(images(), "net", bias="none", activation="none")
        is_training = v1.placeholder(tf.bool, [])
        with v1.variable_scope("net", reuse=v1.AUTO_REUSE):
            v1.cond(is_training, lambda: batch_norm(value), lambda: batch_norm(value, training=False))
        report = create_training_graph(graph)
    assert [each.operation for each in report.left_float if "is_training True or False" in each.reason]


def test_layer_of_a_graph_whose_weights_are_not_variables_is_refused_before_folding():
    with tf.Graph().as_default() as graph:
        value = tf.nn.conv2d(images(), tf.ones([1, 1, 3, 4]), 1, "SAME", name="net/Conv2D")
        tf.nn.relu(batch_norm(value))
    assert "no layer that could be quantized" in refusal(graph)


def test_anything_but_a_graph_is_refused(graph):
    with pytest.raises(RewriteError, match=r"must be a tf\.Graph") as caught:
        create_training_graph(graph.as_graph_def())
    assert follows("Import a GraphDef first: tf.import_graph_def(graph_def, name='')") in caught.value.hint


@pytest.mark.parametrize(
    ("create", "options", "fragments"),
    [
        (experimental_create_training_graph, {"freeze_bn_delay": -10}, ["freeze_bn_delay", "-10"]),
        (experimental_create_training_graph, {"weight_bits": 1}, ["weight_bits", "from 2 to 8"]),
        (experimental_create_eval_graph, {"activation_bits": 9}, ["activation_bits", "9"]),
        (experimental_create_training_graph, {"quant_delay": -1}, ["quant_delay", "-1"]),
        (create_training_graph, {"quant_delay": 1.5}, ["quant_delay", "1.5"]),
        (create_training_graph, {"quant_delay": "3"}, ["quant_delay", "number of steps"]),
        (experimental_create_eval_graph, {"weight_bits": None}, ["weight_bits", "from 2 to 8"]),
        (experimental_create_eval_graph, {"scope": "nett"}, ["nett", "net/Conv2D"]),
    ],
)
def test_invalid_parameters_are_named(graph, create, options, fragments):
    text = refusal(graph, create, **options)
    assert all(fragment in text for fragment in fragments)


def optimized():
    v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(layer(images(), "net")))


def finalized():
    layer(images(), "net")
    v1.get_default_graph().finalize()


FOLLOWED = [
    (optimized, follows("Rewrite the graph after the loss is built and before the optimizer's"),
     lambda: tf.reduce_mean(layer(images(), "net"))),
    (finalized, follows("Rewrite it before a session (MonitoredTrainingSession, Supervisor)"),
     lambda: layer(images(), "net")),
    (images, follows("Call it after the network has been built, on the network's own graph"),
     lambda: layer(images(), "net")),
    (lambda: folding_layer(images(), "net", update=None),
     follows("Build it as tf.compat.v1.nn.fused_batch_norm or tf.nn.batch_normalization"),
     lambda: folding_layer(images(), "net", form="FusedBatchNorm")),
    (lambda: folding_layer(images(), "net", update="zero_debias"), "tf.nn.batch_normalization directly behind",
     lambda: folding_layer(images(), "net", form="unfused")),
]  # fmt: skip


@pytest.mark.parametrize(("network", "hint", "followed"), FOLLOWED)
def test_graph_that_follows_the_hint_is_rewritten(network, hint, followed):
    with tf.Graph().as_default() as graph:
        network()
    assert hint in " ".join(refusal(graph).split())
    with tf.Graph().as_default() as graph:
        followed()
    assert create_training_graph(graph).quantized


def test_graph_of_a_session_and_not_of_a_function_is_rewritten():
    hints = []

    @tf.function
    def network(value):
        with pytest.raises(RewriteError) as caught:
            create_eval_graph()
        hints.append(caught.value.hint)
        return value

    network(tf.zeros([1]))
    assert follows("Build the network in a tf.Graph and run it in a tf.compat.v1.Session") in hints[0]
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        output = layer(images(), "net")
        create_eval_graph(graph)
        session.run(v1.global_variables_initializer())
        assert session.run(output, {"input:0": np.zeros([2, 6, 6, 3])}).shape == (2, 6, 6, 4)


def test_definition_that_is_imported_and_options_as_the_default_are_taken(graph):
    definition = graph.as_graph_def()
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(definition, name="")
    assert create_eval_graph(imported).quantized is not None
    with pytest.raises(RewriteError) as caught:
        Options(mean=0, std_dev=1, mode="tf2")
    assert follows('The default is {"mode": "integer", "scheme": "uint8"}') in caught.value.hint
    assert Options(mean=0, std_dev=1, mode="integer", scheme="uint8")
