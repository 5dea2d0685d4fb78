"""The repository's own networks, rewritten here, train like TF 1.10.1's training graphs.

Tolerances. Steps before quantization begins: 1e-4, for sums in another order. The loss of the quantized step: 1e-3;
in MobileNet a value that is rounded the other way moves the statistics of small batches, and with them the loss by a
few percent, so 5e-2.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from qatbuild.quantize import create_training_graph
from tests.golden import slim
from tests.golden.originals import GOLDEN, QUANT_DELAY
from tests.golden.training import FOLDER, of_original, trained

pytestmark = pytest.mark.tf

each_network = pytest.mark.parametrize("network", slim.NETWORKS)


def assert_like(table: dict[str, Any], expected: dict[str, Any], network: str) -> None:
    assert table["fake_quantization_step"] == expected["fake_quantization_step"] == QUANT_DELAY
    for topic in ("ranges", "norms"):
        # An absolute tolerance for what starts at zero: ranges of values that are never negative.
        assert table[topic] == pytest.approx(expected[topic], rel=1e-4, abs=1e-7), topic
    assert table["losses"][:-1] == pytest.approx(expected["losses"][:-1], rel=1e-4)
    quantized = 5e-2 if network.startswith("mobilenet") else 1e-3
    assert table["losses"][-1] == pytest.approx(expected["losses"][-1], rel=quantized)


@each_network
def test_training_reaches_the_originals_losses_ranges_and_statistics(network: str) -> None:
    expected = json.loads((FOLDER / f"{network}.json").read_text())
    layers = {"lenet": 4, "cifarnet_lrn": 5, "mobilenet_v1_025_128": 28}[network]
    assert len(expected["ranges"]) == 8 * layers
    assert len(expected["norms"]) == (3 * 27 if network.startswith("mobilenet") else 0)
    graph = slim.graph(slim.NETWORKS[network], "train")
    create_training_graph(graph, QUANT_DELAY)
    assert_like(trained(graph.as_graph_def(), slim.NETWORKS[network]), expected, network)


@pytest.mark.shared("golden")
@each_network
def test_table_is_what_its_command_makes(network: str) -> None:
    recorded = json.loads((FOLDER / f"{network}.json").read_text())
    made = of_original(GOLDEN / network)
    assert made["source"]["sha256"] == recorded["source"]["sha256"]
    assert_like(made, recorded, network)
