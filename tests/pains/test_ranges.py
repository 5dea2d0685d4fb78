"""Ranges: a tensor without one, ranges that are not restored, scales that must be the same, bits other than 8."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import ConversionError, SpecError, StageError
from qatbuild.schema.load import load
from qatbuild.schema.rules import AllowedPaths
from qatbuild.worker import graph_def
from qatbuild.worker.tflite import convert, inspect
from qatbuild.worker.tflite.fake_quant_nodes import FAKE_QUANTS, range_of
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.training import checkpoint
from qatbuild.worker.training.frozen import freeze
from tests.pains.conftest import TRAIN, Built
from tests.tflite.conftest import OUTPUT, Network
from tests.tflite.integers import check_integer
from tests.tflite.running import ends, run

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
SAME_SCALE = {"CONCATENATION", "MAX_POOL_2D", "RESHAPE"}
DROPOUT, NO_RANGE = "dropout is still in the graph: leave it out", "put a range (FakeQuant) after the activation"


def test_a_tensor_without_a_range_is_named_with_its_layer_and_never_ships(
    built: Built, network: Network, tmp_path: Path
) -> None:
    """tensorflow#25088: "Array X is lacking min/max data". TensorFlow 2.21 converts such a graph without a word."""
    model = tmp_path / "model.tflite"
    for options, layer, hint in (
        ({"ranges": ("conv1", "logits")}, "conv2", NO_RANGE),
        ({"dropout": True}, "dropout3/random_uniform", DROPOUT),
    ):
        model.write_bytes(convert.convert(network(**options), ends(OUTPUT), scheme="uint8"))
        with pytest.raises(ConversionError, match="not fully integer") as refused:
            check_integer(inspect.read(model), "uint8")
        assert layer in [label for label, _ in refused.value.facts]
        assert f"{layer}: {hint}" in refused.value.hint
    graph = graph_def.read(built.file("usual@qat", "inference_graph.pb"), ConversionError)
    assert not [node.name for node in graph.node if node.op.startswith("Random")]


def test_ranges_are_restored_with_the_weights_and_a_missing_one_is_named(built: Built, tmp_path: Path) -> None:
    """models#3611: "Key .../act_quant/max not found"; tfmot#798: not restored, without a word."""
    export, values = built.stage("usual@qat", "export"), built.variables("usual@qat", "quantize")
    nodes = graph_def.nodes_by_name(graph_def.read(built.file("usual@qat", "frozen_graph.pb"), ConversionError))
    learnt = {name: values[name] for name in values if name.endswith("_quant/max")}
    frozen = [ends for node in nodes.values() if node.op in FAKE_QUANTS and (ends := range_of(nodes, node))]
    assert learnt
    assert all(any(np.allclose(value, high) for _, high in frozen) for value in learnt.values())
    lost = next(name for name in learnt if "stem" in name)
    checkpoint.write({name: value for name, value in values.items() if name != lost}, tmp_path / "model.ckpt-20")
    with pytest.raises(StageError, match="lacks variables") as refused:
        freeze(export.file("inference_graph.pb"), tmp_path / "model.ckpt-20", export.facts["outputs"].values())
    assert dict(refused.value.facts)["missing"] == lost


def test_what_a_concatenation_or_a_pool_joins_has_one_scale(built: Built) -> None:
    """tfmot#1053: "violates the same scale constraint"."""
    for label in ("usual@qat", "usual@hurried"):
        model = inspect.read(built.file(label, "model.tflite"))
        joined = [each for each in model.operators if each.name in SAME_SCALE]
        assert {each.name for each in joined} == SAME_SCALE
        for each in joined:
            ends_ = (*(each.inputs if each.name == "CONCATENATION" else each.inputs[:1]), *each.outputs)
            tensors = [model.tensors[index] for index in ends_]
            assert len({(tensor.scales, tensor.zero_points) for tensor in tensors}) == 1, f"{label}: {each.name}"


def test_weights_of_four_bits_are_refused_where_kernels_compute_them_wrongly(
    network: Network, images: np.ndarray, tmp_path: Path
) -> None:
    """tensorflow#20694: the converter makes a file, which gives wrong answers."""
    frozen, model = tmp_path / "frozen_graph.pb", tmp_path / "model.tflite"
    frozen.write_bytes(_with_weights_of_four_bits(network()))
    converter = v1.lite.TFLiteConverter.from_frozen_graph(str(frozen), ["input"], [OUTPUT])
    converter.inference_type, converter.quantized_input_stats = tf.uint8, {"input": (121, 64)}
    model.write_bytes(converter.convert())
    wanted = _outputs(frozen, (images.astype(np.float32) - 121) / 64)
    assert np.abs(run(Model(model), images) - 256 * wanted).max() > 50

    with pytest.raises(ConversionError) as refused:
        convert.convert(frozen, ends(OUTPUT), scheme="uint8")
    assert "4 bits, which uint8 kernels compute wrongly" in dict(refused.value.facts)["conv1"]
    spec = tmp_path / "net.json"
    fields = {"input": {"mean": 0, "std_dev": 1}, "model": {"name": "lenet"}, "train": TRAIN}
    quantize = {"overrides": [{"layer": "conv*", "bits": 4}]}
    spec.write_text(json.dumps({**fields, "quantize": quantize}))
    with pytest.raises(SpecError, match="must be 8 with uint8, whose kernels compute wrongly with fewer"):
        load("net", spec, AllowedPaths(tmp_path))


def _with_weights_of_four_bits(frozen: Path) -> bytes:
    graph = graph_def.read(frozen, ConversionError)
    for node in graph.node:
        if node.op in FAKE_QUANTS and "conv" in node.name and "weights_quant" in node.name:
            node.attr["num_bits"].i = 4
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


def _outputs(frozen: Path, real_values: np.ndarray) -> np.ndarray:
    with tf.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(graph_def.read(frozen, ConversionError), name="")
        result: np.ndarray = session.run(f"{OUTPUT}:0", {"input:0": real_values})
        return result
