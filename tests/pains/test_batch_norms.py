"""Batch norms: refused without a cause, and left over in the file."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from qatbuild.exchange.errors import ConversionError
from qatbuild.worker import graph_def
from qatbuild.worker.tflite import inspect
from tests.pains.conftest import Built

pytestmark = pytest.mark.tf

LABELS = ("usual@qat", "usual@hurried", "usual@narrow")


def test_a_batch_norm_is_reported_with_its_layer_or_with_the_reason_why_it_has_none(
    built: Built, refused: Mapping[str, str]
) -> None:
    """tfmot#628: "not supported", because the convolution had an activation of its own. Here that is built."""
    for label in LABELS:
        report = json.loads(built.stage(label, "quantize").file("rewrite.json").read_text())
        layer_of = {each["batch_norm"].split("/")[1]: each["layer"].split("/")[1] for each in report["folded"]}
        assert layer_of == {"stem_bn": "stem", "right_bn": "right_bn"}
    text = refused["batch_statistics"]
    assert "BatchNorm: it normalizes with each batch's own statistics, in an inference graph" in text
    assert "hint: let it normalize the last axis, the channels, with moving averages" in text


def test_no_part_of_a_batch_norm_is_left(built: Built) -> None:
    """tensorflow#25033: a MUL and an ADD behind each layer. Training and inference are folded by the same formulas."""
    for label in LABELS:
        operators = [each.name for each in inspect.read(built.file(label, "model.tflite")).operators]
        assert not {"MUL", "ADD", "SUB", "RSQRT"} & {*operators}
        assert operators.count("CONV_2D") == 3
        assert operators.count("DEPTHWISE_CONV_2D") == 1  # The one that has no layer in front.
        graph = graph_def.read(built.file(label, "frozen_graph.pb"), ConversionError)
        assert not [node.name for node in graph.node if node.op.startswith("FusedBatchNorm")]
