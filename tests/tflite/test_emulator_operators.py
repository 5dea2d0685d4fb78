"""One operator at a time, with drawn shapes, scales and zero points: the emulator equals LiteRT's reference kernels.

And the default kernels (XNNPACK) are within one step of both, given the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qatbuild.exchange.errors import ConversionError
from qatbuild.worker.tflite import emulator
from tests.tflite.flatbuffers import Wire, constant, infer, single

Case = tuple[bytes, list[np.ndarray]]
TYPES = (np.uint8, np.int8)
ACTIVATIONS = (0, 1, 2, 3)  # none, ReLU, ReLU between -1 and 1, ReLU6


class Drawn:
    """Numbers from Hypothesis, and arrays of quantized values from a generator with a drawn seed."""

    def __init__(self, data: Any, dtype: Any) -> None:
        self.draw, self.dtype = data.draw, np.dtype(dtype)
        self.random = np.random.default_rng(self.draw(st.integers(0, 2**32 - 1)))
        self.low, self.high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        self.old = self.dtype == np.uint8

    def size(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def real(self, low: float, high: float) -> float:
        return self.draw(st.floats(float(np.float32(low)), float(np.float32(high)), width=32))

    def quantized(self, *shape: int) -> np.ndarray:
        return self.random.integers(self.low, self.high, shape, self.dtype, endpoint=True)

    def zero_point(self) -> int:
        return self.size(self.low, self.high)

    def wire(self, *shape: int, scale: float | None = None) -> Wire:
        return Wire(self.dtype, shape, [self.real(0.004, 1.0) if scale is None else scale], [self.zero_point()])

    def weights(self, shape: tuple[int, ...], axis: int, *, per_channel: bool) -> Wire:
        if self.old:
            return constant(self.quantized(*shape), [self.real(0.002, 0.02)], [self.zero_point()])
        scales = [self.real(0.002, 0.02) for _ in range(shape[axis] if per_channel else 1)]
        return constant(np.maximum(self.quantized(*shape), -127), scales, [0] * len(scales), axis)

    def biases(self, count: int, images: Wire, weights: Wire) -> Wire:
        scales = [float(np.float32(images.scales[0]) * np.float32(scale)) for scale in weights.scales]
        values = self.random.integers(-20000, 20000, count, np.int32)
        return constant(values, scales, [0] * len(scales), 0)


def options(kind: type, **fields: Any) -> Any:
    table = kind()
    for name, value in fields.items():
        assert hasattr(table, name)
        setattr(table, name, value)
    return table


def layer(operator: str, *, per_channel: bool = False) -> Callable[[Drawn], Case]:
    def case(drawn: Drawn) -> Case:
        channels, filters, height, width = (drawn.size(1, 4), drawn.size(1, 4), drawn.size(1, 3), drawn.size(1, 3))
        images = drawn.wire(2, drawn.size(5, 8), drawn.size(5, 8), channels)
        window: dict[str, Any] = {"padding": drawn.one_of(0, 1), "strideH": drawn.one_of(1, 2)}
        window["strideW"] = window["strideH"]
        if window["strideH"] == 1 and operator != "TRANSPOSE_CONV":
            window |= dict.fromkeys(("dilationHFactor", "dilationWFactor"), drawn.one_of(1, 2))
        fused = {"fusedActivationFunction": drawn.one_of(*ACTIVATIONS)}
        if operator == "CONV_2D":
            table = options(schema.Conv2DOptionsT, **window, **fused)
            weights = drawn.weights((filters, height, width, channels), 0, per_channel=per_channel)
        elif operator == "DEPTHWISE_CONV_2D":
            table = options(schema.DepthwiseConv2DOptionsT, **window, **fused, depthMultiplier=filters)
            weights, filters = (
                drawn.weights((1, height, width, channels * filters), 3, per_channel=per_channel),
                channels * filters,
            )
        elif operator == "FULLY_CONNECTED":
            images = drawn.wire(3, 8 * channels)
            table = options(schema.FullyConnectedOptionsT, **fused)
            weights = drawn.weights((filters, 8 * channels), 0, per_channel=per_channel)
        else:
            table = options(schema.TransposeConvOptionsT, **window)
            weights = drawn.weights((filters, height, width, channels), 0, per_channel=per_channel)
        fan_in = np.prod(weights.shape) / filters
        scale = float(np.float32(images.scales[0] * max(weights.scales) * np.sqrt(fan_in) * drawn.real(8, 80)))
        biases = drawn.biases(filters, images, weights)
        inputs: list[Any] = [images, weights, biases]
        output = drawn.wire(*(1,) * len(images.shape), scale=scale)
        if operator == "TRANSPOSE_CONV":
            sizes = [
                size * window["strideH"] if window["padding"] == 0 else (size - 1) * window["strideH"] + span
                for size, span in zip(images.shape[1:3], (height, width), strict=True)
            ]
            inputs = [constant(np.array([2, *sizes, filters], np.int32)), weights, images, biases]
        elif operator == "FULLY_CONNECTED" and drawn.one_of(True, False):
            inputs[2] = None
        version = 1 if drawn.old else 4 if operator == "FULLY_CONNECTED" else 3
        return single(operator, table, inputs, output, version), [drawn.quantized(*images.shape)]

    return case


def elementwise(operator: str, table: type) -> Callable[[Drawn], Case]:
    def case(drawn: Drawn) -> Case:
        shape = (2, drawn.size(1, 4), drawn.size(1, 4), drawn.size(1, 4))
        one, other = drawn.wire(*shape), drawn.wire(*drawn.one_of(shape, (1, 1, 1, shape[3])))
        scales = (one.scales[0], other.scales[0])
        scale = scales[0] * scales[1] * 100 if operator == "MUL" else max(scales)
        output = drawn.wire(*shape, scale=float(np.float32(scale * drawn.real(0.3, 3.0))))
        made = options(table, fusedActivationFunction=drawn.one_of(*ACTIVATIONS))
        quantized = [drawn.quantized(*wire.shape) for wire in (one, other)]
        return single(operator, made, [one, other], output, 1 if drawn.old else 2), quantized

    return case


def pool(operator: str) -> Callable[[Drawn], Case]:
    def case(drawn: Drawn) -> Case:
        images = drawn.wire(2, drawn.size(3, 8), drawn.size(3, 8), drawn.size(1, 3))
        table = options(
            schema.Pool2DOptionsT,
            padding=drawn.one_of(0, 1),
            strideH=drawn.size(1, 2),
            strideW=drawn.size(1, 2),
            filterHeight=drawn.size(1, 3),
            filterWidth=drawn.size(1, 3),
            fusedActivationFunction=drawn.one_of(*ACTIVATIONS),
        )
        output = Wire(drawn.dtype, (1, 1, 1, 1), images.scales, images.zero_points)
        return single(operator, table, [images], output, 1 if drawn.old else 2), [drawn.quantized(*images.shape)]

    return case


def mean(drawn: Drawn) -> Case:
    images = drawn.wire(2, drawn.size(1, 8), drawn.size(1, 8), drawn.size(1, 3))
    axes = drawn.one_of([1, 2], [2, 1], [1], [3], [1, 2, 3], [-2, -3])
    table = options(schema.ReducerOptionsT, keepDims=drawn.one_of(True, False))
    same = Wire(drawn.dtype, (1, 1), images.scales, images.zero_points)
    output = drawn.one_of(same, drawn.wire(1, 1, scale=float(np.float32(images.scales[0] * drawn.real(0.3, 2.0)))))
    inputs = [images, constant(np.array(axes, np.int32))]
    return single("MEAN", table, inputs, output, 2), [drawn.quantized(*images.shape)]


def concatenation(drawn: Drawn) -> Case:
    size = (drawn.size(1, 5), drawn.size(1, 5))
    output = drawn.wire(1, 1, 1, 1)
    parts = []
    for _ in range(drawn.size(2, 4)):
        shape = (2, *size, drawn.size(1, 3))
        scale = float(np.float32(output.scales[0] * drawn.real(0.3, 2.0)))
        own = drawn.old and drawn.one_of(True, False)  # int8 must have one scale
        parts.append(
            drawn.wire(*shape, scale=scale) if own else Wire(drawn.dtype, shape, output.scales, output.zero_points)
        )
    table = options(schema.ConcatenationOptionsT, axis=drawn.one_of(3, -1))
    quantized = [drawn.quantized(*part.shape) for part in parts]
    return single("CONCATENATION", table, parts, output, 1 if drawn.old else 2), quantized


def softmax(drawn: Drawn) -> Case:
    logits = drawn.wire(20, drawn.size(1, 12), scale=drawn.real(0.001, 2.0))
    output = Wire(drawn.dtype, logits.shape, [1 / 256], [drawn.low])
    table = options(schema.SoftmaxOptionsT, beta=drawn.one_of(1.0, 0.5))
    quantized = drawn.quantized(*logits.shape) // drawn.one_of(1, 8)
    return single("SOFTMAX", table, [logits], output, 1 if drawn.old else 2), [quantized]


def unary(operator: str, output: tuple[float, int] | None = None) -> Callable[[Drawn], Case]:
    """All 256 inputs of an operator of one tensor; `output`: its fixed scale, and its zero point above the minimum."""

    def case(drawn: Drawn) -> Case:
        quantized = np.arange(drawn.low, drawn.high + 1).astype(drawn.dtype).reshape(1, -1)
        values = drawn.wire(*quantized.shape)
        result = drawn.wire(*quantized.shape, scale=float(np.float32(values.scales[0] * drawn.real(0.3, 3.0))))
        if output is not None:
            result = Wire(drawn.dtype, quantized.shape, [output[0]], [output[1] + drawn.low])
        leaky = operator == "LEAKY_RELU"
        table = options(schema.LeakyReluOptionsT, alpha=drawn.real(0.01, 0.9)) if leaky else None
        return single(operator, table, [values], result, 1 if drawn.old else 2), [quantized]

    return case


def pad(drawn: Drawn) -> Case:
    images = drawn.wire(2, 3, 4, 2)
    widths = constant(drawn.random.integers(0, 3, (4, 2)).astype(np.int32))
    output = Wire(drawn.dtype, (1, 1, 1, 1), images.scales, images.zero_points)
    made = single("PAD", options(schema.PadOptionsT), [images, widths], output, 1 if drawn.old else 2)
    return made, [drawn.quantized(*images.shape)]


LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
CASES: dict[str, Callable[[Drawn], Case]] = {
    **{name: layer(name) for name in LAYERS},
    "ADD": elementwise("ADD", schema.AddOptionsT),
    "SUB": elementwise("SUB", schema.SubOptionsT),
    "MUL": elementwise("MUL", schema.MulOptionsT),
    "MAX_POOL_2D": pool("MAX_POOL_2D"),
    "AVERAGE_POOL_2D": pool("AVERAGE_POOL_2D"),
    "MEAN": mean,
    "CONCATENATION": concatenation,
    "SOFTMAX": softmax,
    "LOGISTIC": unary("LOGISTIC", (1 / 256, 0)),
    "TANH": unary("TANH", (1 / 128, 128)),
    "RELU": unary("RELU"),
    "RELU6": unary("RELU6"),
    "LEAKY_RELU": unary("LEAKY_RELU"),
    "PAD": pad,
}


def emulated(data: bytes, quantized: list[np.ndarray], folder: Path) -> np.ndarray:
    path = folder / "model.tflite"
    path.write_bytes(data)
    graph = emulator.read(path)
    values = {tensor.index: tensor.values for tensor in graph.tensors} | dict(zip(graph.inputs, quantized, strict=True))
    (operator,) = graph.operators
    return emulator.compute(operator, [None if each is None else values[each.index] for each in operator.inputs])


def check(case: Callable[[Drawn], Case], drawn: Drawn, folder: Path) -> None:
    data, quantized = case(drawn)
    mine, reference = emulated(data, quantized, folder), infer(data, quantized)
    assert mine.dtype == reference.dtype
    np.testing.assert_array_equal(mine, reference)
    default = infer(data, quantized, "xnnpack")
    assert np.abs(default.astype(int) - reference.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("operator", CASES)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_operator_equals_the_reference_kernel_bit_for_bit(operator, dtype, data, tmp_path):
    check(CASES[operator], Drawn(data, dtype), tmp_path)


@pytest.mark.parametrize("operator", LAYERS)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_layer_with_a_scale_per_channel_equals_the_reference_kernel_bit_for_bit(operator, data, tmp_path):
    check(layer(operator, per_channel=True), Drawn(data, np.int8), tmp_path)


def test_an_unknown_operator_is_named_before_anything_is_computed(tmp_path):
    wire = Wire(np.uint8, (1, 4), [0.1], [3])
    path = tmp_path / "model.tflite"
    path.write_bytes(single("ELU", None, [wire], wire))
    with pytest.raises(ConversionError, match="does not support an operator") as refused:
        emulator.run(path, np.zeros((1, 4), np.uint8))
    assert refused.value.facts == [("file", str(path)), ("unknown", "ELU")]


def test_a_float_tensor_is_named(tmp_path):
    wire = Wire(np.float32, (1, 4))
    path = tmp_path / "model.tflite"
    path.write_bytes(single("RELU", None, [wire], wire))
    with pytest.raises(ConversionError, match="integers only") as refused:
        emulator.run(path, np.zeros((1, 4), np.uint8))
    assert ("tensors", "input0, output") in refused.value.facts
