"""Conversion: calibration that is not wanted, types that are ignored, mean and std, noise."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from qatbuild.exchange.errors import ConversionError
from qatbuild.report.ends import described
from qatbuild.worker import graph_def
from qatbuild.worker.tflite import convert, inspect
from qatbuild.worker.tflite.gates import gates
from tests.models.graphs import Built as BuiltGraph
from tests.pains.conftest import Built
from tests.pains.test_training import fault
from tests.tflite.conftest import OUTPUT, Network
from tests.tflite.integers import check_integer
from tests.tflite.running import ends

pytestmark = pytest.mark.tf

v1 = tf.compat.v1


def converter_of_tensorflow_2(frozen: Path) -> Any:
    """The converter that people find first, of a graph that was trained with fake quantization."""
    graph = graph_def.read(frozen, ConversionError)
    imported = v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([imported.prune("input:0", f"{OUTPUT}:0")])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter


def test_trained_ranges_need_no_representative_dataset(network: Network, tmp_path: Path) -> None:
    """tensorflow#38285: a QAT model with TFLITE_BUILTINS_INT8 asks for a representative dataset."""
    asking = converter_of_tensorflow_2(network())
    asking.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with pytest.raises(ValueError, match="representative_dataset"):
        asking.convert()
    model = tmp_path / "model.tflite"
    model.write_bytes(convert.convert(network(), ends(OUTPUT), scheme="uint8"))
    check_integer(inspect.read(model), "uint8")
    assert "/convert/supported_ops  unknown field" in fault(tmp_path, convert={"supported_ops": ["INT8"]})


def test_a_uint8_file_is_uint8_inside_too(built: Built, network: Network, tmp_path: Path) -> None:
    """tensorflow#51748: the V2 converter ignores `inference_type`; its uint8 is int8 between casts, refused here."""
    converter, model = converter_of_tensorflow_2(network()), tmp_path / "model.tflite"
    converter.inference_type = converter.inference_input_type = converter.inference_output_type = tf.uint8
    with pytest.warns(UserWarning, match="Statistics for quantized inputs"):
        model.write_bytes(converter.convert())
    with pytest.raises(ConversionError, match="not fully integer") as refused:
        check_integer(inspect.read(model), "uint8")
    assert "QUANTIZE: casts from int8 to uint8" in str(refused.value)

    ours = inspect.read(built.file("usual@qat", "model.tflite"))
    assert {tensor.dtype for tensor in ours.tensors} == {"uint8", "int32"}
    assert not {"QUANTIZE", "DEQUANTIZE"} & {each.name for each in ours.operators}


def test_mean_and_std_dev_are_written_once_and_the_report_says_what_they_are(built: Built) -> None:
    """tensorflow#32611: what are mean and std, and is it always 127.5? real = (byte - mean) / std_dev."""
    for label, dtype, zero_point in (("usual@qat", "uint8", 128), ("usual@narrow", "int8", 0)):
        report = built.report(label)
        assert report["input"]["dtype"] == dtype
        assert report["input"]["zero_point"] == zero_point
        assert report["input"]["scale"] == pytest.approx(1 / 127.5)
        assert report["scaling"] == {"mean": 127.5, "std_dev": 127.5, "zero_point": 128}
        assert "real = (byte - 128) / 127.5" in described(report)
        assert any("of the input images is 127.5: a zero point is a byte" in each for each in report["warnings"])
    requests = [built.file("usual@qat", f"{stage}.request.json") for stage in ("freeze", "convert", "evaluate")]
    settings = [json.loads(each.read_text())["settings"] for each in requests]
    assert [each["inputs"]["images"]["mean"] for each in settings if "inputs" in each] == [127.5, 127.5]


def test_an_input_that_stayed_float_is_refused_by_name(network: Network, tmp_path: Path) -> None:
    """tensorflow#41697: `inference_input_type` is ignored, and input and output are float32."""
    converter = v1.lite.TFLiteConverter.from_frozen_graph(str(network()), ["input"], [OUTPUT])
    converter.inference_type, converter.quantized_input_stats = tf.uint8, {"input": (121, 64)}
    converter.inference_input_type = converter.inference_output_type = tf.float32
    model = tmp_path / "model.tflite"
    model.write_bytes(converter.convert())
    failed = {gate.name: gate for gate in gates(model, ends(OUTPUT), scheme="uint8") if not gate.passed}
    assert {"fully integer", "input", "output"} <= set(failed)
    assert failed["input"].wanted == "uint8, scale 0.015625, zero point 121"
    assert failed["input"].got.startswith("float32")


def test_fake_quantization_of_the_authors_own_is_refused_or_replaced(
    built: Built, refused: Mapping[str, str], tmp_path: Path
) -> None:
    """tensorflow#31802: a graph with FakeQuants, calibrated once more. A method is one or the other here."""
    text = refused["fake_quantized"]
    assert re.search(r"own_range +FakeQuantWithMinMaxVars: the network brings fake quantization of its own", text)
    assert "hint: leave it out: the build inserts what is needed" in text
    named = {"graph_def": str(built.file("usual@qat", "frozen_graph.pb"))}
    assert not [kind for kind in BuiltGraph(named, {"images": (8, 8, 1)}, {"labels": 10}).kinds if "FakeQuant" in kind]
    text = fault(tmp_path, quantize={"method": "qat", "calibration": {"images": 9}})
    assert "calibration is for ptq; qat learns ranges in training" in text


def test_each_stage_has_a_process_of_its_own_and_the_terminal_no_deprecation(built: Built) -> None:
    """tensorflow#122598: 22 MB lost in each conversion; #102071: tf.lite is deprecated, in every script's output."""
    assert "deprecat" not in built.printed.lower()
    log = built.file("usual@qat", "log.txt")
    conversion = log.read_text().split("== convert")[1].split("\n== ")[0]
    assert "deprecat" not in conversion.lower()
    folders = [built.stage("usual@qat", stage).folder for stage in ("float", "quantize")]
    logs = [(folder / "log.txt").read_text() for folder in folders]
    processes = [{*re.findall(r"^process (\d+)$", each, re.MULTILINE)} for each in logs]
    assert all(len(each) == 1 for each in processes)
    assert len(set.union(*processes)) == len(logs)
