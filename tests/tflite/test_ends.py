"""The integers of inputs and outputs: of the spec, of a task, or of the ranges that the frozen graph learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.exchange.errors import ConversionError
from qatbuild.exchange.scaling import RealInput, Scaling
from qatbuild.worker.tflite import convert, inspect
from qatbuild.worker.tflite.ends import Ends, wanted
from qatbuild.worker.tflite.gates import gates
from qatbuild.worker.tflite.interpret import Model

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
REALS = {"reals": ("input_reals", RealInput())}
IMAGES = {"images": ("input_images", Scaling(127.5, 127.5))}
LEARNT = {"value": "Net/Predictions/value"}


def ranged(net: Any, low: float, high: float, name: str, **options: Any) -> Any:
    return tf.quantization.fake_quant_with_min_max_vars(net, low, high, name=name, **options)


def frozen(folder: Path, end: Callable[[Any], Any] = tf.identity, *, bits: int = 8) -> Path:
    """The graph of a dense layer on an input of bytes and one on reals, -1..3; their sum, the output, is -2.5..5."""
    random = np.random.default_rng(1)

    def dense(net: Any, name: str) -> Any:
        weights = random.normal(size=(net.shape[-1], 4)).astype(np.float32)
        largest = np.abs(weights).max()
        read = ranged(weights, -largest, largest, f"{name}/weights_quant", narrow_range=True)
        return ranged(tf.matmul(net, read, name=f"{name}/MatMul"), -4.0, 4.0, f"{name}/act_quant")

    with tf.Graph().as_default() as graph:
        images = v1.placeholder(tf.float32, [None, 2], name="input_images")
        reals = v1.placeholder(tf.float32, [None, 3], name="input_reals")
        seen = dense(ranged(images, -128 / 127.5, 127 / 127.5, "bytes_quant"), "seen")
        net = tf.add(seen, dense(ranged(reals, -1.0, 3.0, "reals_quant"), "felt"), name="sum")
        net = ranged(net, -2.5, 5.0, "value_quant", num_bits=bits)
        tf.identity(end(net), name="Net/Predictions/value")
        tf.argmax(net, axis=-1, output_type=tf.int32, name="Net/Predictions/classes")
    path = folder / "frozen.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.mark.parametrize(("scheme", "shift"), [("uint8", 0), ("int8", 128)])
def test_an_output_of_real_values_has_the_range_that_was_learnt(scheme: str, shift: int, tmp_path: Path) -> None:
    end = wanted(frozen(tmp_path), {}, LEARNT, scheme).outputs["value"]
    assert (end.dtype, end.zero_point) == (scheme, 85 - shift)
    assert end.scale == pytest.approx(7.5 / 255)


@pytest.mark.parametrize(("scheme", "shift"), [("uint8", 0), ("int8", 128)])
def test_an_input_of_real_values_has_the_range_of_the_fake_quant_that_reads_it(
    scheme: str, shift: int, tmp_path: Path
) -> None:
    ends = wanted(frozen(tmp_path), {**IMAGES, **REALS}, {}, scheme).inputs
    assert list(ends) == ["images", "reals"]
    assert (ends["images"].std_dev, ends["images"].zero_point) == (127.5, 128 - shift)
    assert ends["reals"].scale == pytest.approx(4 / 255)
    assert ends["reals"].zero_point == 64 - shift


@pytest.mark.parametrize("probabilities", [tf.nn.softmax, tf.sigmoid])
def test_probabilities_have_the_range_that_the_runtime_fixes(probabilities: Any, tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        probabilities(v1.placeholder(tf.float32, [None, 3]), name="output")
    (tmp_path / "bare.pb").write_bytes(graph.as_graph_def().SerializeToString())
    end = wanted(tmp_path / "bare.pb", {}, {"value": "output"}, "uint8").outputs["value"]
    assert (end.scale, end.zero_point) == (1 / 256, 0)


def test_classes_are_whole_numbers(tmp_path: Path) -> None:
    ends = wanted(frozen(tmp_path), {}, {"value": "Net/Predictions/classes"}, "int8").outputs
    assert (ends["value"].dtype, ends["value"].scale, ends["value"].zero_point) == ("int32", 1.0, 0)


def test_an_output_has_the_range_before_operations_that_only_move_values(tmp_path: Path) -> None:
    path = frozen(tmp_path, lambda net: tf.transpose(tf.reshape(net, [-1, 2, 2]), [0, 2, 1]))
    assert wanted(path, {}, LEARNT, "uint8").outputs["value"].scale == pytest.approx(7.5 / 255)


@pytest.mark.parametrize(("end", "bits"), [(tf.identity, 16), (tf.tanh, 8)])
def test_an_output_without_a_range_of_8_bits_is_refused(end: Callable[[Any], Any], bits: int, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="An output of the graph has no range") as refused:
        wanted(frozen(tmp_path, end, bits=bits), {}, LEARNT, "uint8")
    assert dict(refused.value.facts) == {"output": "Net/Predictions/value"}


def test_an_input_that_no_fake_quant_reads_is_refused(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        tf.identity(v1.placeholder(tf.float32, [None, 3], name="input_reals"), name="output")
    (tmp_path / "bare.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(ConversionError, match="An input of the graph has no range"):
        wanted(tmp_path / "bare.pb", REALS, {}, "uint8")


@pytest.mark.parametrize("scheme", ["uint8", "int8"])
def test_the_converted_file_has_the_wanted_ends_and_computes_by_name(scheme: str, tmp_path: Path) -> None:
    path = frozen(tmp_path)
    ends = wanted(path, {**IMAGES, **REALS}, LEARNT, scheme)
    model = tmp_path / "model.tflite"
    model.write_bytes(convert.convert(path, ends, scheme=scheme))
    rows = gates(model, ends, scheme=scheme)
    assert [row.name for row in rows] == ["fully integer", "loads", "input images", "input reals", "output"]
    assert all(row.passed for row in rows)
    other = Ends(
        {name: each._replace(zero_point=each.zero_point + 1) for name, each in ends.inputs.items()}, ends.outputs
    )
    failed = [row.name for row in gates(model, other, scheme=scheme) if not row.passed]
    assert failed == ["input images", "input reals"]
    assert [row.got for row in gates(model, Ends({}, ends.outputs), scheme=scheme) if row.name == "inputs"] == ["2"]
    dtype = np.dtype(scheme)
    random = np.random.default_rng(2)
    bounds = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    codes = {name: random.integers(*bounds, (9, count), dtype) for name, count in (("images", 2), ("reals", 3))}
    results = Model(model, ends).run(codes)
    assert {name: (each.dtype, each.shape) for name, each in results.items()} == {"value": (dtype, (9, 4))}
    assert len(inspect.read(model).inputs) == 2
