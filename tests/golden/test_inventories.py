"""The repository's own networks, rewritten here, equal TF 1.10.1's rewrite of slim's, fact by fact."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import tensorflow as tf

from qatbuild.quantize import create_eval_graph, create_training_graph
from tests.golden import slim
from tests.golden.inventory import FOLDER, MODES, inventory, new_variables, of_original, rendered
from tests.golden.originals import GOLDEN, QUANT_DELAY, golden_graph_def

pytestmark = pytest.mark.tf

each_graph = pytest.mark.parametrize(
    ("network", "mode"), [(network, mode) for network in slim.NETWORKS for mode in MODES]
)


def original(network: str, mode: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((FOLDER / f"{network}.{mode}.json").read_text())
    return facts


def rewritten(network: str, mode: str) -> dict[str, Any]:
    """The inventory of this repository's network after this repository's rewrite."""
    graph = slim.graph(slim.NETWORKS[network], mode)
    before = {each.op.name for each in graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES)}
    report = create_training_graph(graph, QUANT_DELAY) if mode == "train" else create_eval_graph(graph)
    assert report.left_float == ()
    return inventory(graph, new_variables(graph, before))


@each_graph
def test_rewrite_has_the_originals_inventory(network: str, mode: str) -> None:
    expected = original(network, mode)
    del expected["source"]
    facts = rewritten(network, mode)
    assert facts.keys() == expected.keys()
    for topic, rows in expected.items():
        assert facts[topic] == rows, topic


@each_graph
def test_inventory_is_of_tf_1_10_1_and_small(network: str, mode: str) -> None:
    facts = original(network, mode)
    assert facts["source"]["tool"].startswith("TensorFlow 1.10.1, tf.contrib.quantize.create_")
    assert (FOLDER / f"{network}.{mode}.json").stat().st_size < 100_000
    layers = {"lenet": 4, "cifarnet_lrn": 5, "mobilenet_v1_025_128": 28}[network]
    assert len(facts["fake_quants"]) == 2 * layers
    assert len(facts["folded_layers"]) == (27 if network.startswith("mobilenet") else 0)
    switches = [len(row["names"]) for row in facts["quant_delay"]]
    assert switches == ([2 * layers] if mode == "train" else [])
    assert sum(row["narrow_range"] for row in facts["fake_quants"]) == layers


def structure(graph_def: tf.compat.v1.GraphDef) -> dict[str, tuple[str, list[str]]]:
    """Each operation's type and inputs, without what another release of TensorFlow builds differently.

    That is: how variables are initialized, the loss's inner operations, how random numbers reach a range, and
    constants that nothing reads.
    """
    inner = re.compile(r"/Initializer/|/Assign$|^softmax_cross_entropy_loss/|/random_uniform(/|$)|/dilation_rate$|"
                       r"/depthwise/Shape$|^global_step/")  # fmt: skip
    rows = {
        node.name: (node.op, [name for name in node.input if not inner.search(name) and not name.startswith("^")])
        for node in graph_def.node
        if not inner.search(node.name)
    }
    return {name: (op, [each for each in inputs if each in rows or ":" in each]) for name, (op, inputs) in rows.items()}


@pytest.mark.shared("golden")
@each_graph
def test_network_is_slims_operation_by_operation(network: str, mode: str) -> None:
    ours = slim.graph(slim.NETWORKS[network], mode).as_graph_def()
    theirs = golden_graph_def(network, f"float.{mode}")
    assert structure(ours) == structure(theirs)
    attributes = ("strides", "ksize", "padding", "epsilon", "is_training", "alpha", "beta", "bias", "depth_radius")
    for name in attributes:
        values = [
            {node.name: str(node.attr[name]) for node in graph.node if name in node.attr} for graph in (ours, theirs)
        ]
        assert {key: values[0][key] for key in values[1]} == values[1], name


@pytest.mark.shared("golden")
@each_graph
def test_inventory_is_what_its_command_makes(network: str, mode: str) -> None:
    assert (FOLDER / f"{network}.{mode}.json").read_text() == rendered(of_original(GOLDEN / network, mode))
