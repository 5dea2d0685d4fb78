"""The rewrite against graphs that the original tool (TF 1.10.1) rewrote: ../shared/golden.

Two starting points: the float graph; and the original's own result with its FakeQuants taken out again, where the
insertion alone is compared, behind the batch norms that the original folded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import create_eval_graph, create_training_graph, experimental_create_training_graph
from tests.golden.originals import (
    GOLDEN,
    NETWORKS,
    QUANT_DELAY,
    WITHOUT_BATCH_NORM,
    assign_values,
    expected_fake_quants,
    fake_quants,
    golden_graph_def,
    golden_inventory,
    imported,
    new_variables,
    outputs,
    v1,
    with_fixed_seeds,
    without_fake_quants,
)

pytestmark = [pytest.mark.tf, pytest.mark.shared("golden")]

modes = pytest.mark.parametrize("mode", ["train", "eval"])


def rewrite(graph, mode):
    return create_training_graph(graph, QUANT_DELAY) if mode == "train" else create_eval_graph(graph)


def assert_same_insertion(graph, report, inventory):
    assert fake_quants(graph) == expected_fake_quants(inventory)
    assert len(report.quantized) == inventory["n_fakequant"]
    assert new_variables(graph) == {
        (each["name"], each["dtype"], each["trainable"], tuple(sorted(each["collections"])))
        for each in inventory["new_variables"]
    }


@modes
@pytest.mark.parametrize("network", NETWORKS)
def test_float_graph_gets_the_originals_fake_quants(network, mode):
    graph = imported(golden_graph_def(network, f"float.{mode}"))
    report = rewrite(graph, mode)
    assert_same_insertion(graph, report, golden_inventory(network, mode))
    assert report.left_float == ()
    assert folded_layers(graph, report) == golden_inventory(network, mode)["folded_layers"]


def folded_layers(graph, report):
    """The twins of the layers whose batch norm was folded, in the words of the golden inventories."""
    twins = [graph.get_operation_by_name(f"{each.layer}_Fold") for each in report.folded]
    return [{"inputs": [each.name for each in twin.inputs], "name": twin.name, "op": twin.type} for twin in twins]


@modes
@pytest.mark.parametrize("network", NETWORKS)
def test_folded_graph_gets_the_originals_fake_quants(network, mode):
    graph = imported(without_fake_quants(golden_graph_def(network, f"quant.{mode}")))
    report = rewrite(graph, mode)
    assert_same_insertion(graph, report, golden_inventory(network, mode))


@pytest.mark.parametrize("network", NETWORKS)
def test_gates_are_the_originals(network):
    graph = imported(golden_graph_def(network, "float.train"))
    create_training_graph(graph, QUANT_DELAY)
    expected = golden_inventory(network, "train")["gating"]
    gates = [each for each in graph.get_operations() if each.name.endswith("/activate_quant")]
    assert len(gates) == expected["activate_quant"]
    assert {each.inputs[0].name for each in gates} == {"fake_quantization_step/Identity:0"}
    assert {str(tf.get_static_value(each.inputs[1])) for each in gates} == set(expected["thresholds"])


@pytest.mark.parametrize(
    ("network", "start"),
    [*((network, "float") for network in NETWORKS), ("mobilenet_v1_025_128", "folded")],
)
def test_eval_graph_computes_the_originals_outputs(network, start):
    original = golden_graph_def(network, "quant.eval")
    mine = imported(golden_graph_def(network, "float.eval") if start == "float" else without_fake_quants(original))
    create_eval_graph(mine)
    inventory = golden_inventory(network, "eval")
    # The logits' handle is the tensor before its FakeQuant, unless a Squeeze follows: what comes last is compared.
    last = {each["input"]: each["name"] + ":0" for each in inventory["fake_quants"]}
    fetch = last.get(inventory["logits"], inventory["logits"])
    shape = mine.get_tensor_by_name("input:0").shape[1:]
    reference = outputs(imported(original), shape, fetch)
    assert np.ptp(reference) > 0
    np.testing.assert_allclose(outputs(mine, shape, fetch), reference, rtol=0, atol=1e-5)


@dataclass
class Trained:
    """What some steps have led to; the moving averages with the folded batch norms' updates, one step after another."""

    ranges: dict[str, np.ndarray]
    moving_averages: dict[str, np.ndarray]
    folded_weights: dict[str, np.ndarray]
    losses: list[float]


def random_batch(graph, random):
    names = ["input:0", "labels:0"]
    return {name: random.normal(size=graph.get_tensor_by_name(name).shape) for name in names}


def train(graph, network, steps):
    """Some steps without an optimizer, the gates opening in the middle of them, each batch wider than the last."""
    random = np.random.default_rng(2)
    losses = []
    folded = [each.name for each in graph.get_operations() if each.name.endswith("/mul_fold")]
    updates = {each.inputs[0].name: each.inputs[1].name for each in graph.get_operations()
               if each.type == "AssignSub" and "/moving_" in each.inputs[0].name}  # fmt: skip
    with v1.Session(graph=graph) as session:
        zero = {"biased": 0, "local_step": 0, "min": -6, "max": 6}
        assign_values(session)
        assign_values(session, lambda each, _: zero[each.name.rpartition("/")[2]],
                      lambda name: "_quant/" in name)  # fmt: skip
        assign_values(session, lambda *_: QUANT_DELAY - steps // 2, lambda name: name == "fake_quantization_step")
        for step in range(steps):
            feed = {name: (step + 1) * values for name, values in random_batch(graph, random).items()}
            loss, differences, weights = session.run(["total_loss:0", updates, [f"{each}:0" for each in folded]], feed)
            losses.append(loss)
            # By hand: in one run with the original's readers, who is first is a race.
            moving = update(session, differences)
        names = [each["name"] for each in golden_inventory(network, "train")["new_variables"]]
        ranges = dict(zip(names, session.run(names), strict=True))
    return Trained(ranges, moving, dict(zip(folded, weights, strict=True)), losses)


def update(session, differences):
    """The moving averages of the next step, assigned."""
    values = session.run({name: name for name in differences})
    moving = {name: value - differences[name] for name, value in values.items()}
    assign_values(session, lambda each, _: moving[each.outputs[0].name], lambda name: f"{name}:0" in moving)
    return moving


def assert_close(found, expected, rtol):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=rtol * np.abs(value).max(), err_msg=name)


@pytest.mark.parametrize(
    ("network", "steps"),
    [*((network, 6) for network in WITHOUT_BATCH_NORM), ("mobilenet_v1_025_128", 6), ("inception_v1", 3),
     ("resnet_v1_50", 2)],
)  # fmt: skip
def test_training_graph_reaches_the_originals_ranges_and_folded_weights(network, steps):
    mine = imported(with_fixed_seeds(golden_graph_def(network, "float.train")))
    report = create_training_graph(mine, QUANT_DELAY)
    original = imported(with_fixed_seeds(golden_graph_def(network, "quant.train")))
    found, expected = train(mine, network, steps), train(original, network, steps)
    assert found.ranges["fake_quantization_step:0"] == QUANT_DELAY - steps // 2 + steps
    assert len(found.folded_weights) == len(report.folded)
    assert len(found.moving_averages) == 2 * len(report.folded)
    assert_close(found.ranges, expected.ranges, 1e-6)
    assert_close(found.folded_weights, expected.folded_weights, 1e-6)
    assert_close(found.moving_averages, expected.moving_averages, 1e-6)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)


def test_frozen_training_graph_folds_the_inference_graphs_weights():
    network, steps = "mobilenet_v1_025_128", 2
    mine = imported(with_fixed_seeds(golden_graph_def(network, "float.train")))
    experimental_create_training_graph(mine, quant_delay=QUANT_DELAY, freeze_bn_delay=QUANT_DELAY - steps // 2)
    found = train(mine, network, steps)
    inference = imported(golden_graph_def(network, "quant.eval"))
    with v1.Session(graph=inference) as session:
        assign_values(session)
        moving = {f"{each.name}:0": session.run(f"{each.name}:0") for each in inference.get_operations() if
                  each.type == "VariableV2" and "/moving_" in each.name}  # fmt: skip
        weights = session.run({name: f"{name}:0" for name in found.folded_weights})
    assert_close(found.moving_averages, moving, 0)
    assert_close(found.folded_weights, weights, 1e-6)


def gradients(graph):
    """The loss's gradients of one quantized step, by the variable that is read."""
    parameters = [each.outputs[0] for each in graph.get_operations() if each.type == "Identity" and
                  each.name.endswith(("weights/read", "biases/read", "gamma/read", "beta/read"))]  # fmt: skip
    random = np.random.default_rng(3)
    feed = {
        f"{name}:0": random.normal(size=graph.get_tensor_by_name(f"{name}:0").shape) for name in ("input", "labels")
    }
    with graph.as_default(), v1.Session() as session:
        found = tf.gradients(graph.get_tensor_by_name("total_loss:0"), parameters)
        assign_values(session)
        assign_values(session, lambda *_: QUANT_DELAY, lambda name: name == "fake_quantization_step")
        return session.run({each.name: gradient for each, gradient in zip(parameters, found, strict=True)}, feed)


def test_training_graph_has_the_originals_gradients():
    network = "mobilenet_v1_025_128"
    mine = imported(with_fixed_seeds(golden_graph_def(network, "float.train")))
    create_training_graph(mine, QUANT_DELAY)
    found = gradients(mine)
    assert len(found) == 27 * 3 + 2
    assert_close(found, gradients(imported(with_fixed_seeds(golden_graph_def(network, "quant.train")))), 1e-4)


def test_checkpoint_of_tf_1_10_restores_by_name_and_computes_its_outputs():
    checkpoint = tf.train.load_checkpoint(str(GOLDEN / "tf1_cifarnet" / "model.ckpt-420"))
    recorded = np.load(GOLDEN / "tf1_cifarnet" / "compare256.npz")
    training = imported(golden_graph_def("cifarnet", "float.train"))
    create_training_graph(training, quant_delay=210)
    variables = {each.name for each in training.get_operations() if each.type == "VariableV2"}
    assert variables == set(checkpoint.get_variable_to_shape_map())

    evaluation = imported(golden_graph_def("cifarnet", "float.eval"))
    create_eval_graph(evaluation)
    images = (np.float32(recorded["inputs_uint8"]) - recorded["mean"]) / recorded["std"]
    with v1.Session(graph=evaluation) as session:
        assign_values(session, lambda each, _: checkpoint.get_tensor(each.name))
        found = session.run("CifarNet/Predictions/Softmax:0", {"input:0": images})
    # Another release's convolutions sum in another order: a value at a half goes one code up or down.
    assert np.mean(found.argmax(1) == recorded["frozen_out"].argmax(1)) >= 0.99
    np.testing.assert_allclose(found, recorded["frozen_out"], rtol=0, atol=0.02)
