"""The gates of a converted file, as in the report."""

from __future__ import annotations

import pytest
import tensorflow as tf

from qatbuild.worker.tflite.gates import gates
from tests.tflite.conftest import OUTPUT
from tests.tflite.running import ends


def rows_of(path, scheme="uint8", **scaling):
    return {row.name: row for row in gates(path, ends(OUTPUT, scheme, **scaling), scheme=scheme)}


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("uint8", {}),
        ("int8", {"conv": "symmetric", "dense": "symmetric"}),
        ("int8_per_channel", {"conv": "per_channel", "dense": "symmetric"}),
    ],
)
def test_a_correct_file_passes_all_gates_of_its_scheme(converted, scheme, options):
    rows = rows_of(converted(scheme, **options), scheme=scheme)
    assert list(rows) == ["fully integer", "loads", "input", "output"]
    assert all(row.passed and row.got == row.wanted for row in rows.values())


def test_a_float_operation_fails_only_the_first_gate(converted):
    rows = rows_of(converted(lrn=True))
    assert [name for name, row in rows.items() if not row.passed] == ["fully integer"]
    assert rows["fully integer"].got == "4 operations that are not"


def test_an_input_of_another_scale_fails_with_wanted_and_got(converted):
    row = rows_of(converted(), zero_point=128, std_dev=127.5)["input"]
    assert not row.passed
    assert row.wanted == "uint8, scale 0.007843137, zero point 128"
    assert row.got == "uint8, scale 0.015625, zero point 121"


def test_an_output_that_is_not_a_softmax_fails(network, tmp_path):
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(str(network()), ["input"], ["Net/logits/act_quant"])
    converter.inference_type = tf.uint8
    converter.quantized_input_stats = {"input": (121, 64)}
    path = tmp_path / "model.tflite"
    path.write_bytes(converter.convert())
    assert rows_of(path)["output"].got == "uint8, scale 0.03137255, zero point 128"


def test_a_file_that_litert_cannot_load_fails_with_its_message(network, tmp_path):
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
        str(network()), ["input"], ["Net/Predictions/Softmax"]
    )
    converter.inference_type = tf.int8
    converter.quantized_input_stats = {"input": (-7, 64)}
    path = tmp_path / "model.tflite"
    path.write_bytes(converter.convert())
    row = rows_of(path, scheme="int8")["loads"]
    assert not row.passed
    assert "failed to delegate CONV_2D node" in row.got
