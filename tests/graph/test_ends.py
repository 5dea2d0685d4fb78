"""Networks with several inputs and outputs are fully integer, and their fake-quantized graphs predict the runtime."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import Options, plan_inference, rewrite_inference, rewrite_training
from qatbuild.quantize.calibrate.calibration import calibrate
from qatbuild.quantize.integer.end_ranges import on_grid
from qatbuild.worker.tflite.affine import quant_params
from tests.graph.ends_networks import NETWORKS
from tests.graph.ends_runtime import build, converted, examples, learnt, options
from tests.graph.networks import v1

pytestmark = pytest.mark.tf

CASES = [
    ("two heads", "uint8", "qat"),
    ("two heads", "int8_per_channel", "ptq"),
    ("joined inputs", "uint8", "ptq"),
    ("joined inputs", "int8", "qat"),
    ("autoencoder", "int8_per_channel", "qat"),
    ("detector", "uint8", "qat"),
    ("segmenter", "int8_per_channel", "ptq"),
    ("activations", "uint8", "qat"),
    ("moved", "int8", "ptq"),
    ("passed", "uint8", "qat"),
    ("passed", "int8_per_channel", "ptq"),
]


@pytest.mark.parametrize(("name", "scheme", "method"), CASES)
def test_network_is_integer_with_the_ranges_of_its_ends(name, scheme, method, tmp_path):
    network = NETWORKS[name]
    outcome = converted(network, tmp_path, scheme, method)
    for output in outcome.graph:
        # One step an operation; a softmax or sigmoid has several steps for one of its input.
        assert outcome.lsb(output).max() <= len(outcome.operators)
        assert outcome.lsb(output).mean() < 0.5
        assert len(np.unique(outcome.tflite[output])) > 10
    zero = 0 if scheme == "uint8" else -128
    for source, (low, high) in outcome.input_ranges.items():
        scale = (float(np.float32(high)) - float(np.float32(low))) / 255
        assert outcome.tensors[source].scales == (float(np.float32(scale)),)
        assert outcome.tensors[source].zero_points == (round(-float(low) / scale) + zero,)
    for output, (low, high) in network.ranges.items():
        assert outcome.tensors[output].scales == (float(np.float32((high - low) / 255)),)


def test_the_runtime_fixes_the_scale_of_softmax_and_sigmoid_as_results_and_inside(tmp_path):
    outcome = converted(NETWORKS["activations"], tmp_path)
    assert [outcome.tensors[each].scales for each in ("sigmoid", "softmax")] == [(1 / 256,)] * 2
    outcome = converted(NETWORKS["moved"], tmp_path)
    assert (outcome.tensors["last"].scales, outcome.tensors["last"].zero_points) == ((1 / 256,), (0,))


@pytest.mark.parametrize("name", NETWORKS)
def test_training_and_inference_graph_name_the_same_ranges_of_ends(name):
    network, rows = NETWORKS[name], []
    for training, rewrite in ((True, rewrite_training), (False, rewrite_inference)):
        built = build(network, training=training)
        asked = options(network, built, "uint8")
        report = rewrite(built.graph, asked, input=list(network.inputs), logits=list(built.ends.values()))
        rows.append([(each.layer, each.role, each.min_variable, each.fixed) for each in report.quantized])
    assert rows[0] == rows[1]


def test_each_input_has_a_range_of_its_own_that_training_learns():
    network = NETWORKS["joined inputs"]
    values, real = learnt(network, "uint8"), examples(network)["other"]
    ranges = {name: value for name, value in values.items() if "input_quant" in name and "/local" not in name}
    (low, high) = (ranges[f"dense/input_quant_1/{each}"] for each in ("min", "max"))  # that of the first input is fixed
    assert (low, high) == (pytest.approx(real.min(), rel=1e-4), pytest.approx(real.max(), rel=1e-4))
    assert not [name for name in ranges if "input_quant/" in name]


def test_calibration_measures_inputs_of_batches_by_name_and_a_lone_input_without_one():
    for name, batches in (("activations", examples(NETWORKS["activations"])["x"]), ("joined inputs", None)):
        network = NETWORKS[name]
        built, real = build(network), examples(network)
        asked = options(network, built, "uint8")
        plan = plan_inference(built.graph, asked, input=list(network.inputs), logits=list(built.ends.values()))
        with built.graph.as_default(), v1.Session() as session:
            session.run(v1.global_variables_initializer())
            shown = [real if batches is None else batches]
            ranges = calibrate(session, plan, list(network.inputs), shown.copy)
        (row,) = (each for each in plan.quantized if each.is_input and each.fixed is None)
        measured = real[row.tensor.partition(":")[0]]
        assert (ranges[row.min_variable], ranges[row.max_variable]) == (measured.min(), measured.max())
        assert row.layer == ("input" if len(real) == 1 else "other")


def test_one_tensor_by_name_is_the_same_as_a_sequence_of_one():
    reports = []
    for several in (False, True):
        with tf.Graph().as_default() as graph:
            x = v1.placeholder(tf.float32, [None, 4], name="input")
            weights = v1.get_variable("weights", [4, 3], use_resource=True)
            tf.nn.softmax(tf.matmul(x, weights, name="logits"))
        names = {"input": ["input"], "logits": ["logits:0"]} if several else {"input": "input", "logits": "logits"}
        reports.append(rewrite_inference(graph, Options(mean=128, std_dev=64), **names))
    assert reports[0] == reports[1]


@pytest.mark.parametrize(("ends", "zero_point"), [((-1, 1), 128), ((-300, 300), 128), ((0, 6), 0), ((-2, 0), 255)])
def test_a_fixed_range_has_one_zero_point_in_float32_and_float64(ends, zero_point):
    low, high = on_grid(ends)
    scale = (ends[1] - ends[0]) / 255
    assert (low, high) == pytest.approx((-zero_point * scale, (255 - zero_point) * scale))
    params = quant_params(low, high)
    assert int(params.zero_point) == zero_point
    assert float(params.scale) == pytest.approx(scale)
    assert on_grid((-1, 3)) == (-1, 3)  # No tie: FakeQuant and converter move it alike.
