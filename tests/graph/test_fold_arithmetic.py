"""A folded network computes batch normalization and its gradients, before and after the freeze."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import create_eval_graph, experimental_create_training_graph
from qatbuild.quantize.batch_norm.fold import fold
from tests.graph.folding import (
    BIASED,
    FORMS,
    ROWS,
    Network,
    assert_close,
    batches,
    convolutions_run,
    foldable,
    start_biases_at,
)
from tests.graph.networks import DECAY, EPSILON, FUSED, v1

pytestmark = pytest.mark.tf

NEVER = 1_000_000
rows = pytest.mark.parametrize(("kind", "form", "columns"), ROWS)
forms = pytest.mark.parametrize("form", FORMS)
some_forms = pytest.mark.parametrize("form", ["FusedBatchNormV3", "unfused"])
kinds = pytest.mark.parametrize("kind", ["conv", "depthwise", "dense"])


def training(freeze=None, quant_delay=NEVER):
    return lambda graph: experimental_create_training_graph(graph, quant_delay=quant_delay, freeze_bn_delay=freeze)


def folded_only(*, with_batches=True, freeze=None):
    """Return a rewrite that folds batch norms, also behind biases, and inserts no FakeQuants."""

    def rewrite(graph):
        norms = foldable(graph, training=with_batches)
        with graph.as_default():
            return [fold(each, freeze) for each in norms]

    return rewrite


@rows
@pytest.mark.parametrize("freeze", [None, NEVER])
def test_before_the_freeze_the_output_is_normalized_with_the_batchs_statistics(kind, form, columns, freeze):
    plain, folded = (Network(rewrite, kind, form=form, **columns) for rewrite in (None, training(freeze)))
    for batch in batches(plain):
        (output, gradients), (expected, expected_gradients) = folded.step(batch), plain.step(batch)
        assert_close([output, *gradients], [expected, *expected_gradients])
        mine, others = folded.moving_averages(), plain.moving_averages()
        assert_close(mine.values(), others.values(), 1e-5)
    assert len(folded.report.folded) == 2


@rows
@pytest.mark.parametrize("freeze", [0, 3])
def test_from_the_freeze_on_the_output_is_normalized_with_the_moving_averages(kind, form, columns, freeze):
    folded = Network(training(freeze), kind, form=form, **columns)
    inference = Network(None, kind, form=form, training=False, **columns)
    for step, batch in enumerate(batches(folded), start=1):
        before = folded.moving_averages()
        output, gradients = folded.step(batch)
        after = folded.moving_averages()
        inference.assign(before)
        expected, expected_gradients = inference.step(batch)
        unchanged = [np.array_equal(before[name], after[name]) for name in before]
        if step < freeze:
            assert not any(unchanged)
            assert not np.allclose(output, expected, atol=1e-2)
        else:
            assert all(unchanged)
            assert_close([output, *gradients], [expected, *expected_gradients])


@pytest.mark.parametrize(("kind", "form", "bias"), BIASED)
@pytest.mark.parametrize("freeze", [None, 3])
def test_bias_in_front_is_folded_with_its_gradient(kind, form, bias, freeze):
    columns = {"form": form, "bias": bias, "update": "blend"}
    plain, folded = (Network(each, kind, **columns) for each in (None, folded_only(freeze=freeze)))
    for network in (plain, folded):
        start_biases_at(network, 0.7)
    for step, batch in enumerate(batches(plain, 3), start=1):
        before = folded.moving_averages()
        output, gradients = folded.step(batch)
        if freeze is None or step < freeze:
            expected, expected_gradients = plain.step(batch)
            assert_close([output, *gradients], [expected, *expected_gradients])
            assert_close(folded.moving_averages().values(), plain.moving_averages().values(), 1e-5)
            continue
        frozen = Network(None, kind, **columns, training=False)
        start_biases_at(frozen, 0.7)
        frozen.assign(before)
        expected, expected_gradients = frozen.step(batch)
        assert_close([output, *gradients], [expected, *expected_gradients])
        assert [np.array_equal(value, before[name]) for name, value in folded.moving_averages().items()] == [True] * 4
    assert len(folded.report) == 2


@pytest.mark.parametrize(("kind", "form", "bias"), BIASED)
def test_bias_in_front_of_a_batch_norm_in_inference_is_folded(kind, form, bias):
    columns = {"form": form, "bias": bias, "training": False}
    plain, folded = (Network(each, kind, **columns) for each in (None, folded_only(with_batches=False)))
    batch = batches(plain, 1)[0]
    for network in (plain, folded):
        start_biases_at(network, 0.7)
    (output, gradients), (expected, expected_gradients) = folded.step(batch), plain.step(batch)
    assert_close([output, *gradients], [expected, *expected_gradients])
    assert len(folded.report) == 2


@some_forms
@kinds
@pytest.mark.parametrize("freeze", [None, 0])
def test_batch_norm_that_is_frozen_in_the_float_graph(kind, form, freeze):
    plain, folded = (Network(rewrite, kind, form=form, training=False) for rewrite in (None, training(freeze)))
    for batch in batches(plain, 2):
        (output, gradients), (expected, expected_gradients) = folded.step(batch), plain.step(batch)
        assert_close([output, *gradients], [expected, *expected_gradients])


@some_forms
@kinds
@pytest.mark.parametrize("freeze", [None, 3])
def test_quantized_output_equals_the_float_output_up_to_quantization_steps(kind, form, freeze):
    plain, folded = (Network(rewrite, kind, form=form) for rewrite in (None, training(freeze, quant_delay=0)))
    batch = batches(plain, 1)[0]
    (output, _), (expected, _) = folded.step(batch), plain.step(batch)
    assert 0 < np.abs(output - expected).max() < 0.05 * np.ptp(expected)


@forms
def test_frozen_training_graph_and_inference_graph_quantize_alike(form):
    frozen = Network(training(0, quant_delay=0), form=form)
    batch = batches(frozen, 1)[0]
    output, _ = frozen.step(batch)
    inference = Network(create_eval_graph, form=form, training=False)
    with frozen.graph.as_default():
        values = frozen.session.run({each.op.name: each for each in v1.global_variables()})
    with inference.graph.as_default():
        for each in v1.global_variables():
            each.load(values[each.op.name], inference.session)
    np.testing.assert_array_equal(inference.step(batch)[0], output)


@pytest.mark.parametrize(
    ("quant_delay", "columns"),
    [(0, {}), (3, {}), (NEVER, {}), (0, {"update": "blend"}), (0, {"variables": "ref"}), (0, {"forced": True})],
)
@some_forms
def test_after_the_freeze_each_layer_runs_one_convolution(form, columns, quant_delay):
    network = Network(training(freeze=3, quant_delay=quant_delay), form=form, **columns)
    ran = [convolutions_run(network, batch) for batch in batches(network, 4)]
    assert ran == [[4, 4, 4], [4, 4, 4], [2, 2, 2], [2, 2, 2]]


@some_forms
def test_after_the_freeze_a_layer_with_a_bias_runs_one_convolution_too(form):
    network = Network(folded_only(freeze=3), form=form, bias="bias_add", update="blend")
    ran = [convolutions_run(network, batch) for batch in batches(network, 4)]
    assert ran == [[4, 4, 4], [4, 4, 4], [2, 2, 2], [2, 2, 2]]


def test_moving_averages_follow_their_definition():
    network = Network(training(), form="unfused")
    before = network.moving_averages()
    batch = batches(network, 1)[0]
    layer_output = network.session.run("first/Conv2D:0", {"input:0": batch})
    network.step(batch)
    expected = DECAY * before["first/BatchNorm/moving_variance"] + (1 - DECAY) * layer_output.var((0, 1, 2))
    np.testing.assert_allclose(network.moving_averages()["first/BatchNorm/moving_variance"], expected, rtol=1e-5)


def numeric_gradient(function, x, step=1e-5):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        change = np.zeros_like(x)
        change[index] = step
        gradient[index] = (function(x + change) - function(x - change)) / (2 * step)
    return gradient


@pytest.mark.parametrize("form", list(FUSED))
def test_gradient_of_a_fused_batch_norms_statistics_follows_their_definition(form):
    random = np.random.default_rng(7)
    x = random.normal(size=[2, 3, 2, 3])
    of_mean, of_variance = random.normal(size=[2, 3])

    def loss(values):
        rows = values.reshape(-1, 3)
        return of_mean @ rows.mean(0) + of_variance @ rows.var(0, ddof=1)

    with tf.Graph().as_default() as graph, v1.Session() as session:
        value = v1.placeholder(tf.float32, x.shape)
        with graph.gradient_override_map({form: "FoldFusedBatchNormGrad"}):
            ones = [tf.ones([3])] * 2
            _, mean, variance, *_ = FUSED[form](
                x=value, scale=ones[0], offset=ones[1], mean=[], variance=[], epsilon=EPSILON, is_training=True
            )
        weighted = tf.reduce_sum(of_mean * mean) + tf.reduce_sum(of_variance * variance)
        gradient = session.run(tf.gradients(weighted, value)[0], {value: x})
    np.testing.assert_allclose(gradient, numeric_gradient(loss, x), rtol=1e-4, atol=1e-5)
