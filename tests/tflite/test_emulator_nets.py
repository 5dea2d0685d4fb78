"""Whole networks from TensorFlow's converter: every intermediate tensor, and each layer on the default kernels."""

from __future__ import annotations

import numpy as np
import pytest

from qatbuild.worker.tflite import emulator
from qatbuild.worker.tflite.interpret import Model
from tests.conftest import SHARED
from tests.tflite import nets
from tests.tflite.flatbuffers import cut, infer
from tests.tflite.running import int8

TF1 = SHARED / "golden" / "tf1_cifarnet" / "quantized.tflite"

pytestmark = pytest.mark.tf

IMAGES = np.random.default_rng(1).integers(0, 256, (6, nets.SIDE_PX, nets.SIDE_PX, nets.CHANNELS), np.uint8)


@pytest.fixture(scope="module", params=[(net, scheme) for net in nets.NETS for scheme in nets.SCHEMES], ids="-".join)
def net(request, tmp_path_factory):
    """Of one network: its file, its operators, and every tensor as the reference kernels compute it."""
    name, scheme = request.param
    path = nets.build(name, scheme, tmp_path_factory.mktemp("net"))
    graph = emulator.read(path)
    images = IMAGES if scheme == "uint8" else int8(IMAGES)
    computed = [*graph.inputs, *(operator.outputs[0].index for operator in graph.operators)]
    return path, graph, Model(path, kernels="reference", keep=True).tensors({"input": images}, computed)


def test_every_tensor_of_a_net_equals_the_reference_kernels(net):
    path, graph, reference = net
    mine = emulator.run(path, reference[graph.inputs[0]])
    for operator in graph.operators:
        tensor = operator.outputs[0]
        np.testing.assert_array_equal(mine[tensor.index], reference[tensor.index], f"{operator.name} {tensor.name}")


def test_each_layer_is_within_one_lsb_of_the_default_kernels_on_the_same_inputs(net):
    path, graph, reference = net
    for index, operator in enumerate(graph.operators):
        operands = [reference[each.index] for each in operator.inputs if each is not None and each.values is None]
        default = infer(cut(path, index), operands, "xnnpack").astype(int)
        difference = np.abs(default - reference[operator.outputs[0].index]).max()
        assert difference <= 1, f"{operator.name} {operator.outputs[0].name}"


@pytest.mark.shared("golden")
def test_every_tensor_of_cifarnet_from_tensorflow_1_equals_the_reference_kernels():
    graph = emulator.read(TF1)
    with np.load(TF1.with_name("compare256.npz")) as golden:
        images = golden["inputs_uint8"][:16]
    mine = emulator.run(TF1, images)
    computed = [operator.outputs[0].index for operator in graph.operators]
    for index, values in Model(TF1, kernels="reference", keep=True).tensors({"input": images}, computed).items():
        np.testing.assert_array_equal(mine[index], values, graph.tensors[index].name)
