"""A checkpoint that TF 1.10.1 trained (../shared/golden/tf1_cifarnet), frozen into the graph that is built here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import create_eval_graph
from qatbuild.training.frozen import freeze, without_weights
from qatbuild.training.inference import Network, inference

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "tf1_cifarnet"

pytestmark = [
    pytest.mark.tf,
    pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden graphs (../shared/golden) are not here"),
]


def test_checkpoint_of_tf_1_restores_by_name_and_gives_what_it_gave_there(tmp_path: Path) -> None:
    network = Network({"name": "cifarnet"}, (32, 32, 3), 10, 121.0, 64.0)
    target = inference(network, lambda graph, _input, _logits: create_eval_graph(graph))
    graph = tmp_path / "inference_graph.pb"
    graph.write_bytes(without_weights(target).SerializeToString())
    frozen = tf.compat.v1.GraphDef.FromString(freeze(graph, GOLDEN / "model.ckpt-420", target.output))
    golden = np.load(GOLDEN / "compare256.npz")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(frozen, name="")
        real = (golden["inputs_uint8"].astype(np.float32) - 121) / 64
        probabilities = session.run(f"{target.output}:0", {"input:0": real})
    # One activation that rounds the other way moves a probability by a few steps of 1/256.
    np.testing.assert_allclose(probabilities, golden["frozen_out"], atol=0.02)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), golden["frozen_out"].argmax(axis=1))
