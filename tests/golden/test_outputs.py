"""The repository's own networks compute TF 1.10.1's outputs, in float and after this repository's rewrite.

Tolerances. Float: 1e-5 of the largest output, for sums in another order. Fake-quantized: none, because all arithmetic
is exact (see outputs.py); with local response normalization, whose powers are not, at most a fifth of the outputs may
be one step of 2^-5 off.
"""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from qatbuild.quantize import create_eval_graph, experimental_create_eval_graph
from tests.golden import slim
from tests.golden.originals import GOLDEN, imported
from tests.golden.outputs import ACTIVATION_BITS, FOLDER, computed, integers, of_original, words

pytestmark = pytest.mark.tf

each_network = pytest.mark.parametrize("network", slim.NETWORKS)
STEP = 2.0**-ACTIVATION_BITS


def table(network: str, kind: str) -> np.ndarray:
    return np.array(json.loads((FOLDER / f"{network}.json").read_text())[kind])


def within_tolerance(outputs: np.ndarray, expected: np.ndarray, network: str) -> bool:
    steps = np.abs(outputs - expected) / STEP
    if network != "cifarnet_lrn":
        return bool((steps == 0).all())
    return bool(steps.max() <= 1 and (steps > 0).mean() <= 1 / 5)


@each_network
def test_float_graph_computes_the_originals_outputs(network: str) -> None:
    expected = table(network, "float")
    outputs = computed(slim.graph(slim.NETWORKS[network], "eval"), slim.NETWORKS[network])
    assert len(np.unique(expected)) > 0.9 * expected.size
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("rewrite", [create_eval_graph, experimental_create_eval_graph])
@each_network
def test_fake_quantized_graph_computes_the_originals_outputs(network: str, rewrite) -> None:
    graph = slim.graph(slim.NETWORKS[network], "eval")
    rewrite(graph)
    outputs, expected = computed(graph, slim.NETWORKS[network]), table(network, "fake_quantized")
    assert np.ptp(expected) > 30 * STEP
    assert within_tolerance(outputs, expected, network), np.abs(outputs - expected).max() / STEP


@each_network
def test_table_detects_a_rewrite_that_lost_the_narrow_range_of_one_layer(network: str) -> None:
    graph = slim.graph(slim.NETWORKS[network], "eval")
    create_eval_graph(graph)
    graph_def = graph.as_graph_def()
    first = next(node for node in graph_def.node if node.name.endswith("weights_quant/FakeQuantWithMinMaxVars"))
    first.attr["narrow_range"].b = False
    outputs = computed(imported(graph_def), slim.NETWORKS[network])
    assert not within_tolerance(outputs, table(network, "fake_quantized"), network)


@pytest.mark.parametrize("end", ["min", "max"])
@each_network
def test_table_detects_a_rewrite_that_reads_another_layers_range(network: str, end: str) -> None:
    graph = slim.graph(slim.NETWORKS[network], "eval")
    create_eval_graph(graph)
    graph_def = graph.as_graph_def()
    nodes = [node for node in graph_def.node if node.name.endswith("act_quant/FakeQuantWithMinMaxVars")]
    position = {"min": 1, "max": 2}[end]
    nodes[0].input[position], nodes[1].input[position] = nodes[1].input[position], nodes[0].input[position]
    outputs = computed(imported(graph_def), slim.NETWORKS[network])
    assert not within_tolerance(outputs, table(network, "fake_quantized"), network)


def philox(key: int, counter: int) -> list[int]:
    """A block of Philox4x64-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 4.3."""
    state, keys, low = [counter, 0, 0, 0], [key, 0], 2**64 - 1
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * state[0], 0xCA5A826395121157 * state[2]
        high = [second >> 64 ^ state[1] ^ keys[0], first >> 64 ^ state[3] ^ keys[1]]
        state = [high[0], second & low, high[1], first & low]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) & low, (keys[1] + 0xBB67AE8584CAA73B) & low]
    return state


def test_generator_is_philox_from_its_first_block_on() -> None:
    key = zlib.crc32(b"LeNet/conv1/weights")
    drawn = words("LeNet/conv1/weights", 8)
    assert drawn.tolist() == [*philox(key, 1), *philox(key, 2)]
    assert integers("LeNet/conv1/weights", (2, 4), -3, 4).ravel().tolist() == [(int(n) >> 11) % 7 - 3 for n in drawn]


@pytest.mark.shared("golden")
@each_network
def test_table_is_what_its_command_makes(network: str) -> None:
    made = of_original(GOLDEN / network)
    recorded = json.loads((FOLDER / f"{network}.json").read_text())
    assert made["source"]["sha256"] == recorded["source"]["sha256"]
    np.testing.assert_allclose(made["float"], recorded["float"], rtol=0, atol=2e-5)
    assert within_tolerance(np.array(made["fake_quantized"]), np.array(recorded["fake_quantized"]), network)
