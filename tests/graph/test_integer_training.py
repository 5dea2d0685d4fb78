"""The training graph learns the ranges of the inference graph, in variables of the same names."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import rewrite_inference, rewrite_training
from tests.graph.integer_networks import NETWORKS
from tests.graph.integer_runtime import ROUNDED_AS_THE_INPUT, drawn, network_graph, options, reals, restore
from tests.graph.networks import v1

pytestmark = pytest.mark.tf

FEEDS = {"input:0": reals()}
WITHIN_THEMSELVES = {"dense_block", "inception"}
"""Networks that join a tensor with another one computed from it: in training it uses the range of the step before."""


def rewritten(name, *, training, dropout=True, **asked):
    graph, logits = network_graph(NETWORKS[name], training=training, dropout=dropout)
    rewrite = rewrite_training if training else rewrite_inference
    return graph, rewrite(graph, options(**asked), input="input", logits=logits)


def quantized_logits(graph):
    return graph.get_operation_by_name("Predictions/Softmax").inputs[0]


def initialized(session, values=None):
    session.run(v1.global_variables_initializer())
    restore(session, values or {each.op.name: drawn(each, session) for each in v1.global_variables()})


@pytest.mark.parametrize(
    "asked", [{}, {"scheme": "int8_per_channel", "quant_delay_steps": 9, "freeze_bn_delay_steps": 9}]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_and_inference_graph_name_the_same_ranges(name, asked):
    rows = []
    for training in (True, False):
        _, report = rewritten(name, training=training, **asked)
        rows.append([
            (each.layer, each.role, each.min_variable, each.max_variable, each.fixed, each.quantized_dimension)
            for each in report.quantized
        ])  # fmt: skip
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    "name",
    [
        "inverted_residual",
        "pre_activation",
        "squeeze_and_excite",
        "hard_swishes",
        "dense_only",
        "dilated",
        "moves",
        "normalized_twice",
    ],
)
def test_frozen_training_graph_computes_the_same_as_the_inference_graph(name):
    graph, _ = rewritten(name, training=True, dropout=False, freeze_bn_delay_steps=1)
    with graph.as_default(), v1.Session() as session:
        initialized(session)
        trained = session.run(quantized_logits(graph), FEEDS)
        values = {each.op.name: session.run(each) for each in v1.global_variables()}
    graph, _ = rewritten(name, training=False)
    with graph.as_default(), v1.Session() as session:
        assert {each.op.name for each in v1.global_variables()} <= set(values)
        initialized(session, values)
        inferred = session.run(quantized_logits(graph), FEEDS)
    assert np.mean(np.abs(trained - inferred) > 1e-4) < 0.05  # where a sum was rounded to the neighbouring value
    assert np.max(np.abs(trained)) > 0


@pytest.mark.parametrize("name", ["inception", "dense_block", "residual"])
def test_ranges_are_learnt_from_all_tensors_that_share_them(name):
    graph, report = rewritten(name, training=True, dropout=False)
    learnt = [each for each in report.quantized if each.fixed is None and each.role not in ROUNDED_AS_THE_INPUT]
    with graph.as_default(), v1.Session() as session:
        initialized(session)
        fetched = {row.tensor: graph.get_tensor_by_name(row.tensor) for row in learnt}
        values, _ = session.run([fetched, quantized_logits(graph)], FEEDS)
        variables = {each.op.name: session.run(each) for each in v1.global_variables()}
    for variable in {row.min_variable for row in learnt}:
        together = [values[row.tensor] for row in learnt if row.min_variable == variable]
        least, greatest = min(0, *map(np.min, together), 0), max(0, *map(np.max, together), 0)
        assert variables[variable] == pytest.approx(least, rel=1e-3, abs=1e-6)
        assert variables[variable.replace("/min", "/max")] == pytest.approx(greatest, rel=1e-3)
    shared = [row.min_variable for row in learnt]
    assert (len(shared) > len(set(shared))) == (name in WITHIN_THEMSELVES)


@pytest.mark.parametrize("name", ["inception", "pre_activation", "hard_swishes", "dense_block"])
def test_trainable_variables_get_gradients_and_ranges_do_not(name):
    graph, report = rewritten(name, training=True)
    with graph.as_default(), v1.Session() as session:
        variables = v1.trainable_variables()
        gradients = tf.gradients(tf.reduce_sum(tf.square(quantized_logits(graph))), variables)
        assert None not in gradients
        initialized(session)
        assert all(np.isfinite(each).all() for each in session.run(gradients, FEEDS))
    assert not {row.min_variable for row in report.quantized} & {each.op.name for each in variables}


def test_before_the_quant_delay_the_graph_computes_in_float_and_learns_ranges():
    graph, _ = network_graph(NETWORKS["dense_only"], training=True, dropout=False)
    with graph.as_default(), v1.Session() as session:
        initialized(session)
        expected = session.run(quantized_logits(graph), FEEDS)
        values = {each.op.name: session.run(each) for each in v1.global_variables()}
    graph, report = rewritten("dense_only", training=True, dropout=False, quant_delay_steps=3)
    with graph.as_default(), v1.Session() as session:
        initialized(session, values)
        runs = [session.run(quantized_logits(graph), FEEDS) for _ in range(4)]
        (low,) = [session.run(each) for each in v1.global_variables() if each.op.name == "logits/act_quant/min"]
    assert [np.allclose(each, expected, atol=1e-4) for each in runs] == [True, True, False, False]
    assert low == pytest.approx(expected.min(), rel=1e-2)
    assert report.quantized[0].fixed == (-2.0, 127 / 64)


@pytest.mark.parametrize("training", [True, False])
def test_rewriting_twice_adds_nothing(training):
    graph, first = rewritten("residual", training=training, quant_delay_steps=2 if training else 0)
    before = graph.as_graph_def()
    rewrite = rewrite_training if training else rewrite_inference
    second = rewrite(graph, options(), input="input", logits="logits/BiasAdd")
    assert graph.as_graph_def() == before
    assert second.quantized == ()
    assert len(second.shared) == len(first.quantized)


def test_weight_decay_still_reads_the_float_weights():
    graph, logits = network_graph(NETWORKS["dense_only"])
    with graph.as_default():
        weights = next(each for each in v1.trainable_variables() if each.op.name == "first/weights")
        decay = tf.nn.l2_loss(weights)
    rewrite_training(graph, options(), input="input", logits=logits)
    assert "FakeQuant" not in decay.op.inputs[0].op.type
