"""A layer of a .tflite has the name that `quantize.overrides` takes: an override by it finds the layer again."""

from __future__ import annotations

import pytest
import tensorflow as tf

from qatbuild import quantize
from qatbuild.exchange.errors import RewriteError
from qatbuild.exchange.layer_signs import LayerSigns
from qatbuild.quantize.graph.integer_ops import OPS
from qatbuild.worker.models import layers
from qatbuild.worker.tflite.override_names import MOVES, ROUNDS, OverrideNames
from qatbuild.worker.tflite.pairing import IndexedGraph
from tests.unit import test_patches
from tests.unit.test_diagnosis import row

pytestmark = pytest.mark.tf

v1 = tf.compat.v1


def rewritten(*overrides: quantize.Override) -> tf.Graph:
    """A network whose first activation is an operation of its own, stem_relu, with two pools and a join; rewritten."""
    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, 8, 8, 3], name="input")
        with v1.variable_scope("Net"):
            net = layers.conv(images, 4, 3, scope="stem", activation=None)
            net = layers.max_pool(tf.nn.relu(net, name="stem_relu/Relu"), 2, scope="pool")
            net = layers.flatten(tf.nn.avg_pool(net, 2, 2, "SAME", name="mean"))
            both = [layers.dense(net, 3, scope=name, activation=None) for name in ("left", "right")]
            net = tf.concat(both, 1, name="joined")
        tf.identity(net, name="logits")
    options = quantize.Options(mean=128, std_dev=64, overrides=overrides)
    quantize.rewrite_inference(graph, options, input="input:0", logits="logits:0")
    return graph


@pytest.fixture(scope="module")
def names() -> OverrideNames:
    return OverrideNames(IndexedGraph(rewritten().as_graph_def()))


@pytest.mark.parametrize(("scale", "kinds"), [("same_scale", MOVES), ("same_scale_requantized", ROUNDS)])
def test_what_passes_a_range_on_is_what_the_rewrite_takes_for_it(scale: str, kinds: frozenset[str]) -> None:
    assert kinds == {kind for kind, row_of_kind in OPS.items() if row_of_kind.scale == scale}


def ranges(graph: tf.Graph) -> set[str]:
    """The scopes of the FakeQuants in a rewritten graph whose range ends at 7.5."""
    nodes = {node.name: node for node in graph.as_graph_def().node}
    return {
        name.rpartition("/")[0]
        for name, node in nodes.items()
        if node.op == "FakeQuantWithMinMaxVars" and _constant(nodes[node.input[2]]) == 7.5
    }


def _constant(node: tf.compat.v1.NodeDef) -> float | None:
    return float(tf.make_ndarray(node.attr["value"].tensor)) if node.op == "Const" else None


@pytest.mark.parametrize(
    ("tensor", "name"),
    [
        ("Net/stem/act_quant/FakeQuantWithMinMaxVars:0", "stem"),
        ("Net/pool/MaxPool:0", "stem"),
        ("Net/avg_pool_quant/FakeQuantWithMinMaxVars:0", "stem"),
        ("Net/left/act_quant/FakeQuantWithMinMaxVars:0", "left"),
        ("Net/joined:0", None),
        ("Net/input_quant/FakeQuantWithMinMaxVars:0", None),
    ],
    ids=str,
)
def test_a_tensor_has_the_name_of_the_layer_that_gave_its_range(names: OverrideNames, tensor: str, name: str) -> None:
    assert names.of(tensor) == name


@pytest.mark.parametrize("tensor", ["Net/pool/MaxPool:0", "Net/avg_pool_quant/FakeQuantWithMinMaxVars:0"])
def test_an_override_by_that_name_gives_the_range(names: OverrideNames, tensor: str) -> None:
    name = names.of(tensor)
    assert name is not None
    assert "Net/stem/act_quant" in ranges(rewritten(quantize.Override(name, range=(0.0, 7.5))))


def test_the_rewrite_takes_the_override_that_is_proposed_for_a_fused_activation(names: OverrideNames) -> None:
    """The .tflite's own name of the layer, which the rewrite refuses, is stem_relu."""
    layer = row("stem", LayerSigns((0, 100), 2, values=(0, 1), float_values=(0, 7.5 / 1.05)))
    layer["signs"]["override_name"] = names.of("Net/stem/act_quant/FakeQuantWithMinMaxVars:0")
    spec = test_patches.document(test_patches.PTQ)
    patch = next(each for each in test_patches.patches(spec, layer) if "overrides" in str(each.fields))
    (override,) = test_patches.with_patch(spec, patch).quantize.overrides
    assert "Net/stem/act_quant" in ranges(rewritten(quantize.Override(override.layer, override.range)))
    with pytest.raises(RewriteError):
        rewritten(quantize.Override(layer["name"], override.range))
