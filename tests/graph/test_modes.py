"""The modes of the rewrite: Options are validated, and a plan is what the rewrite inserts."""

from __future__ import annotations

import pytest
import tensorflow as tf

from qatbuild.exchange.errors import RewriteError
from qatbuild.quantize import Options, Override, create_eval_graph, plan_inference, rewrite_inference
from tests.graph.networks import folding_layer, images, layer, v1

pytestmark = pytest.mark.tf

MODE_TF1 = Options(mean=121, std_dev=64, mode="tf1")


def network():
    with tf.Graph().as_default() as graph:
        value = folding_layer(images(), "conv1", training=False)
        value = layer(value, "conv2", activation="identity") + value
        logits = layer(tf.reshape(value, [2, -1]), "logits", "dense", activation="none")
        tf.nn.softmax(logits, name="Softmax")
        v1.placeholder(tf.float32, [1], name="unused")
    return graph, logits.op.name


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"mode": "int"}, "integer, tf1"),
        ({"scheme": "int4"}, "uint8, int8, int8_per_channel"),
        ({"std_dev": 0}, "must be positive"),
        ({"quant_delay_steps": -1}, "quant_delay"),
        ({"freeze_bn_delay_steps": -1}, "freeze_bn_delay"),
        ({"overrides": (Override("conv1"),)}, "it changes nothing"),
        ({"overrides": (Override("conv1", keep_float=True, bits=8),)}, "neither range nor bits"),
        ({"overrides": (Override("conv1", range=(1.0, 2.0)),)}, "must contain 0"),
        ({"overrides": (Override("conv1", range=(0.0, 0.0)),)}, "must contain 0"),
        ({"overrides": (Override("conv1", range=(0.0, 1e-9)),)}, "kernels cannot rescale"),
        ({"overrides": (Override("conv1", range=(-1e30, 1e30)),)}, "kernels cannot rescale"),
        ({"overrides": (Override("conv1", bits=4),)}, "uint8 kernels compute wrongly"),
        ({"overrides": (Override("conv1", bits=9),), "scheme": "int8"}, "2 to 8"),
        ({"mode": "tf1", "overrides": (Override("conv1", keep_float=True),)}, "mode tf1 has no overrides"),
        ({"mode": "tf1", "scheme": "int8_per_channel"}, "no ranges per channel"),
    ],
)
def test_invalid_options_are_refused_by_name(options, fragment):
    with pytest.raises(RewriteError) as caught:
        Options(**{"mean": 121, "std_dev": 64, **options})
    assert fragment in str(caught.value)


def test_mode_tf1_is_contrib_quantize():
    graphs = []
    for rewrite in (create_eval_graph, lambda graph: rewrite_inference(graph, MODE_TF1, input="input", logits="x")):
        graph, _ = network()
        rewrite(graph)
        graphs.append(graph.as_graph_def())
    assert graphs[0] == graphs[1]


def test_plan_reports_what_the_rewrite_inserts_and_inserts_nothing():
    planned, rewritten = network(), network()
    plan = plan_inference(planned[0], MODE_TF1, input="input", logits=planned[1])
    report = rewrite_inference(rewritten[0], MODE_TF1, input="input", logits=rewritten[1])
    assert plan.quantized == report.quantized
    assert plan.folded == report.folded
    assert not [each.name for each in planned[0].get_operations() if "FakeQuant" in each.type]
