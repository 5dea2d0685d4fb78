"""A converted file is read back, and every float operation is named with its layer, tensors and a hint."""

from __future__ import annotations

import pytest

from qatbuild.exchange.errors import ConversionError
from qatbuild.worker.tflite import inspect
from tests.hints import follows
from tests.tflite.integers import check_integer


def refused(path, scheme="uint8"):
    with pytest.raises(ConversionError, match="not fully integer") as error:
        check_integer(inspect.read(path), scheme)
    return error.value


def test_an_integer_file_has_only_uint8_and_int32_tensors(converted):
    model = inspect.read(converted())
    names = [operator.name for operator in model.operators]
    assert names == ["CONV_2D", "MAX_POOL_2D", "CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    assert {operator.version for operator in model.operators} == {1}
    assert {tensor.dtype for tensor in model.tensors} == {"uint8", "int32"}
    check_integer(model, "uint8")


def test_a_bias_of_zeros_is_left_out_by_the_converter(converted):
    dense = next(operator for operator in inspect.read(converted()).operators if operator.name == "FULLY_CONNECTED")
    assert len(dense.inputs) == 2


def test_input_and_output_have_the_wanted_scale(converted):
    model = inspect.read(converted())
    first, last = model.tensors[model.inputs[0]], model.tensors[model.outputs[0]]
    assert (first.shape, first.scales, first.zero_points) == ((1, 8, 8, 1), (1 / 64,), (121,))
    assert (last.shape, last.scales, last.zero_points) == ((1, 4), (1 / 256,), (0,))


def test_per_channel_weights_have_a_scale_for_each_channel(converted):
    model = inspect.read(converted("int8_per_channel", conv="per_channel", dense="symmetric"))
    check_integer(model, "int8_per_channel")
    weights = model.tensors[model.operators[0].inputs[1]]
    assert (weights.dtype, len(weights.scales), set(weights.zero_points)) == ("int8", 8, {0})


def test_lrn_is_named_with_its_layer_its_tensors_and_the_field_that_removes_it(converted):
    error = refused(converted(lrn=True))
    named = [value for label, value in error.facts if label == "norm1"]
    assert any(value.startswith("LOCAL_RESPONSE_NORMALIZATION: computes in float32: ") for value in named)
    assert any("Net/norm1" in value for value in named)
    assert error.hint == f"norm1: {follows('LRN has no integer kernel: leave it out')}."
    check_integer(inspect.read(converted(lrn=False)), "uint8")


def test_every_operation_of_a_float_island_is_listed(converted):
    listed = " ".join(value.split(":")[0] for _, value in refused(converted(lrn=True)).facts)
    assert listed == "DEQUANTIZE LOCAL_RESPONSE_NORMALIZATION CONV_2D QUANTIZE"


@pytest.mark.parametrize(
    ("ranges", "layer"),
    [(("conv2", "logits"), "conv1"), (("conv1", "logits"), "conv2"), (("conv1", "conv2"), "logits")],
)
def test_only_the_activation_without_a_range_gets_a_hint(converted, ranges, layer):
    error = refused(converted(ranges=ranges))
    assert error.hint == f"{layer}: {follows('put a range (FakeQuant) after the activation')}."
    check_integer(inspect.read(converted()), "uint8")
    assert layer in dict(error.facts)


def test_layers_with_the_same_hint_share_it(converted):
    hint = "conv1, logits: put a range (FakeQuant) after the activation."
    assert refused(converted(ranges=("conv2",))).hint == hint


def test_dropout_in_the_graph_is_named(converted):
    error = refused(converted(dropout=True))
    assert "RANDOM_UNIFORM: computes in float32: Net/dropout3/" in error.block()
    assert follows("dropout is still in the graph: leave it out where training") in error.hint
    check_integer(inspect.read(converted(dropout=False)), "uint8")


def test_an_int8_file_is_refused_as_uint8(converted):
    model = inspect.read(converted("int8", conv="symmetric", dense="symmetric"))
    check_integer(model, "int8")
    with pytest.raises(ConversionError, match="computes in int8"):
        check_integer(model, "uint8")


@pytest.mark.parametrize("kept_bytes", [0, 3, 70, 2000])
def test_a_truncated_file_is_named_in_the_error(converted, tmp_path, kept_bytes):
    path = tmp_path / "model.tflite"
    path.write_bytes(converted().read_bytes()[:kept_bytes])
    with pytest.raises(ConversionError, match=r"cannot be read(?s:.*)model\.tflite"):
        inspect.read(path)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("CifarNet/norm1/LRN", "norm1"),
        ("CifarNet/norm1", "norm1"),
        ("CifarNet/conv1/Relu;CifarNet/conv1/BiasAdd;CifarNet/conv1/Conv2D;CifarNet/conv1/BiasAdd/bias1", "conv1"),
        ("CifarNet/conv1/act_quant/FakeQuantWithMinMaxVars", "conv1"),
        ("CifarNet/block2/unit1/conv/Conv2D", "block2/unit1/conv"),
        ("conv1/Conv2D", "conv1"),
        ("input", "input"),
    ],
)
def test_the_layer_of_a_tensor_comes_from_its_name(name, layer):
    assert inspect.layer_of(name, "CifarNet") == layer
