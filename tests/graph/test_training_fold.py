"""Batch norms in training in mode integer: one convolution per layer, and the values of the other graphs."""

from __future__ import annotations

import numpy as np
import pytest

from qatbuild.quantize import Options, rewrite_inference, rewrite_training
from qatbuild.quantize.batch_norm.training_fold import fold_in_training
from tests.graph.folding import (
    BIASED,
    ROWS,
    Network,
    assert_close,
    batches,
    convolutions_run,
    foldable,
    start_biases_at,
)
from tests.graph.networks import v1

pytestmark = pytest.mark.tf

rows = pytest.mark.parametrize(("kind", "form", "columns"), ROWS)
forms = pytest.mark.parametrize("form", ["FusedBatchNormV3", "unfused"])


def folded(freeze=None):
    """Return a rewrite that folds batch norms for training and inserts no FakeQuants."""

    def rewrite(graph):
        norms = foldable(graph, training=True)
        with graph.as_default():
            return [fold_in_training(each, freeze) for each in norms]

    return rewrite


def quantized(how, freeze=None, scheme="uint8"):
    """Return a rewrite of mode integer; the probe behind the second layer has the role of the logits."""

    def rewrite(graph):
        options = Options(mean=128, std_dev=64, scheme=scheme, freeze_bn_delay_steps=freeze)
        return how(graph, options, input="input:0", logits=graph.get_operation_by_name("probe").inputs[0].name)

    return rewrite


@rows
def test_before_the_freeze_the_output_is_normalized_with_the_batchs_statistics(kind, form, columns):
    plain, mine = (Network(rewrite, kind, form=form, **columns) for rewrite in (None, folded()))
    for batch in batches(plain, 3):
        (output, gradients), (expected, expected_gradients) = mine.step(batch), plain.step(batch)
        assert_close([output, *gradients], [expected, *expected_gradients])
        assert_close(mine.moving_averages().values(), plain.moving_averages().values(), 1e-5)
    assert len(mine.report) == 2


@rows
def test_from_the_freeze_on_the_output_is_normalized_with_the_moving_averages(kind, form, columns):
    mine = Network(folded(freeze=3), kind, form=form, **columns)
    inference = Network(None, kind, form=form, training=False, **columns)
    for step, batch in enumerate(batches(mine, 4), start=1):  # before the freeze it is the test above
        before = mine.moving_averages()
        output, gradients = mine.step(batch)
        after = mine.moving_averages()
        inference.assign(before)
        expected, expected_gradients = inference.step(batch)
        unchanged = [np.array_equal(before[name], after[name]) for name in before]
        if step < 3:
            assert not any(unchanged)
            assert not np.allclose(output, expected, atol=1e-2)
        else:
            assert all(unchanged)
            assert_close([output, *gradients], [expected, *expected_gradients])


@pytest.mark.parametrize(("kind", "form", "bias"), BIASED[::2])
def test_a_layers_own_bias_is_normalized_with_it(kind, form, bias):
    columns = {"form": form, "bias": bias, "update": "blend"}
    plain, mine = (Network(each, kind, **columns) for each in (None, folded(freeze=2)))
    frozen = Network(None, kind, **columns, training=False)
    for network in (plain, mine, frozen):
        start_biases_at(network, 0.7)
    first, second = batches(plain, 2)
    (output, gradients), (expected, expected_gradients) = mine.step(first), plain.step(first)
    assert_close([output, *gradients], [expected, *expected_gradients])
    frozen.assign(mine.moving_averages())
    (output, gradients), (expected, expected_gradients) = mine.step(second), frozen.step(second)
    assert_close([output, *gradients], [expected, *expected_gradients])


def test_gradients_add_no_zeros_of_the_branch_that_is_not_taken():
    network = Network(folded(freeze=2), form="FusedBatchNormV3")  # a chain: nothing has two readers
    made = [each for each in network.graph.get_operations() if each.type in {"AddN", "Fill"}]
    assert not [each.name for each in made if each.outputs[0].shape.rank == len(network.shape)]


@forms
@pytest.mark.parametrize("freeze", [None, 3])
def test_each_layer_runs_one_convolution_before_the_freeze_and_after_it(form, freeze):
    network = Network(quantized(rewrite_training, freeze), form=form)
    ran = [convolutions_run(network, batch) for batch in batches(network, 4)]
    assert ran == [[2, 2, 2]] * 4


@forms
@pytest.mark.parametrize("kind", ["conv", "depthwise"])
@pytest.mark.parametrize("scheme", ["uint8", "int8", "int8_per_channel"])
def test_frozen_training_graph_and_inference_graph_quantize_alike(kind, form, scheme):
    """Equal up to float rounding, which moves a few values to the next quantized value."""
    frozen = Network(quantized(rewrite_training, 0, scheme), kind, form=form)
    inference = Network(quantized(rewrite_inference, scheme=scheme), kind, form=form, training=False)
    for batch in batches(frozen, 3):
        output, _ = frozen.step(batch)
    with frozen.graph.as_default():
        values = frozen.session.run({each.op.name: each for each in v1.global_variables()})
    with inference.graph.as_default():
        for each in v1.global_variables():
            each.load(values[each.op.name], inference.session)
    expected, _ = inference.step(batch)
    steps = np.abs(expected - output) / (np.ptp(expected) / 255)
    assert np.mean(steps < 0.01) > 0.98
    assert steps.max() < 2.1


@forms
def test_a_channel_with_gamma_zero_gives_finite_values(form):
    network = Network(quantized(rewrite_training), form=form)
    with network.graph.as_default():
        for each in v1.trainable_variables():
            if each.op.name.endswith("gamma"):
                each.load(np.array([0.0, 1.0, -1.0, 1e-30], np.float32), network.session)
    for batch in batches(network, 2):
        output, gradients = network.step(batch)
        assert all(np.isfinite(each).all() for each in (output, *gradients))
