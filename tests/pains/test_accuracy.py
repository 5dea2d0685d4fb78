"""Accuracy that is gone between Keras and the .tflite, and where it went."""

from __future__ import annotations

import pytest

from tests.hints import follows
from tests.pains.conftest import Built

pytestmark = pytest.mark.tf


def test_the_step_that_lost_the_accuracy_is_named_and_how_settled_its_statistics_were(built: Built) -> None:
    """tfmot#368: 97 % in Keras and 0.2 % as a .tflite."""
    report = built.report("usual@narrow")
    assert report["top1"]["float"] > 90
    assert report["top1"]["fake_quant"] < 60
    block = built.refusal("usual@narrow:evaluate")
    assert "top1 lost" in block
    assert "in the quantized graph already, so the conversion is not the cause" in block
    assert f"float {report['top1']['float']:g}, fake-quantized {report['top1']['fake_quant']:g}" in block
    assert follows("remove the one they have (quantize.overrides)") in " ".join(block.split())
    assert built.report("usual@qat")["top1"]["tflite"] > 90  # Without the override.
    settled = "The batch norms' moving averages have seen only 120 steps, fewer than 1000"
    assert any(text.startswith(settled) for text in built.report("usual@qat")["warnings"])
    assert any("averages over only 20 batches" in text for text in built.report("usual@qat")["warnings"])


def test_the_layer_that_lost_the_accuracy_is_the_first_row(built: Built) -> None:
    """tensorflow#60903: "accuracy drops after conversion", and no way to see where."""
    rows = built.report("usual@narrow")["layers"]
    lost = [row["sqnr_db"]["alone"] for row in rows if row["operator"] != "SOFTMAX"]
    measured_db = [each for each in lost if each is not None]
    assert lost == [*sorted(measured_db), *[None] * (len(lost) - len(measured_db))]  # Last, what only moves values.
    first = rows[0]
    assert first["name"] == "stem_relu"
    assert first["sqnr_db"]["alone"] < 10
    assert first["saturated_percent"] > 20
    block = built.refusal("usual@narrow:evaluate")
    assert "worst layers" in block
    assert "stem_relu (CONV_2D)" in block
