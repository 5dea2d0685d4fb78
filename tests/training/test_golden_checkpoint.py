"""A checkpoint that TF 1.10.1 trained (../shared/golden/tf1_cifarnet), in the graph that is built here.

The graph is the shipped network's, or cut out of the checkpoint's own meta graph: that of a training with delayed
FakeQuants, dropout, and a batch of 128.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange import networks
from qatbuild.exchange.scaling import Scaling
from qatbuild.quantize import create_eval_graph
from qatbuild.worker.tflite.convert import convert
from qatbuild.worker.tflite.ends import wanted
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.application import Application
from qatbuild.worker.training.frozen import freeze, without_weights
from qatbuild.worker.training.graph import training
from qatbuild.worker.training.inference import inference
from qatbuild.worker.training.optimizer import Optimizer
from qatbuild.worker.training.session import session
from tests.conftest import SHARED
from tests.tflite.running import run
from tests.training.applications import batch, classifier, columns

GOLDEN = SHARED / "golden" / "tf1_cifarnet"
CHECKPOINT = GOLDEN / "model.ckpt-420"

pytestmark = [pytest.mark.tf, pytest.mark.shared("golden")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    meta = tmp_path_factory.mktemp("golden") / "model.ckpt-420.meta"
    meta.write_bytes(lzma.decompress((GOLDEN / "model.ckpt-420.meta.xz").read_bytes()))
    tensors = {"input": "input:0", "logits": "CifarNet/logits/BiasAdd:0"}
    return {"name": {"name": "cifarnet"}, "meta_graph": {"meta_graph": str(meta), **tensors}}


SCALING = Scaling(121.0, 64.0)


def network(model: dict[str, Any]) -> Application:
    return classifier(networks.read(model), (32, 32, 3), 10, SCALING)


@pytest.mark.parametrize("kind", ["name", "meta_graph"])
def test_checkpoint_of_tf_1_gives_the_same_outputs_here_also_as_tflite(
    kind: str, models: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    built = inference(network(models[kind]), lambda graph, _inputs, _tensors: create_eval_graph(graph))
    graph = tmp_path / "inference_graph.pb"
    graph.write_bytes(without_weights(built).SerializeToString())
    (tmp_path / "frozen.pb").write_bytes(freeze(graph, CHECKPOINT, built.outputs.values()))
    frozen = tf.compat.v1.GraphDef.FromString((tmp_path / "frozen.pb").read_bytes())
    golden = np.load(GOLDEN / "compare256.npz")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(frozen, name="")
        real = (golden["inputs_uint8"].astype(np.float32) - 121) / 64
        probabilities = session.run(f"{built.outputs['labels']}:0", {"input:0": real})
    # One activation that rounds the other way moves a probability by a few steps of 1/256.
    np.testing.assert_allclose(probabilities, golden["frozen_out"], atol=0.02)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), golden["frozen_out"].argmax(axis=1))

    inputs = {"images": (built.inputs["images"], SCALING)}
    ends = wanted(tmp_path / "frozen.pb", inputs, built.outputs, "uint8")
    (tmp_path / "model.tflite").write_bytes(convert(tmp_path / "frozen.pb", ends, scheme="uint8"))
    model = Model(tmp_path / "model.tflite", kernels="reference")
    codes = run(model, golden["inputs_uint8"])
    there, here = golden["tflite_out"].argmax(axis=1), codes.argmax(axis=1)
    labels, in_float = golden["labels"], golden["frozen_out"].argmax(axis=1)
    # TF 1.10's converter lost narrow_range in dense layers, this one does not: the two files are not equal, but this
    # one agrees with the fake-quantized graph as well as that one did, and is as often right, up to one image in 256.
    assert (here == in_float).mean() >= (there == in_float).mean() - 1 / 256
    assert abs((here == labels).mean() - (there == labels).mean()) <= 1 / 256
    assert np.abs(codes / 256 - probabilities).max() <= 0.02


def test_meta_graph_goes_on_learning_from_its_checkpoint(models: dict[str, dict[str, Any]]) -> None:
    dataset = columns((32, 32, 3), 10)
    target = training(network(models["meta_graph"]), dataset, Optimizer(), weight_decay=0.0, seed=1, rewrite=None)
    golden = np.load(GOLDEN / "compare256.npz")
    feed = target.feed(batch(golden["inputs_uint8"][:64], golden["labels"][:64]), 0.01)
    names = sorted(variable.op.name for variable in target.model)
    assert names[:2] == ["CifarNet/conv1/biases", "CifarNet/conv1/weights"]
    with target.graph.as_default(), session(target.graph, 2) as opened:
        opened.run(tf.compat.v1.global_variables_initializer())
        checkpoint.restore(opened, target.model, CHECKPOINT)
        losses = [opened.run([target.loss, target.step], feed)[0] for _ in range(6)]
    assert losses[-1] < losses[0] < 2.0
    assert not any("FakeQuant" in each.type or "Random" in each.type for each in target.graph.get_operations())
