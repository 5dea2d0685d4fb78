"""bfloat16: the operations that compute in it, those that stay float32, and processors without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from qatbuild.quantize import Options
from qatbuild.worker.training import precision
from qatbuild.worker.training.graph import training
from qatbuild.worker.training.optimizer import Optimizer
from qatbuild.worker.training.resume import Progress
from qatbuild.worker.training.rewrite import Rewrite
from qatbuild.worker.training.session import session
from tests.training.applications import batch, columns, rewrite
from tests.training.conftest import NETWORK
from tests.training.reading import tensors

pytestmark = pytest.mark.tf

v1 = tf.compat.v1
Learn = Callable[..., Progress]


@pytest.fixture
def _with_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_processor_flags", lambda: frozenset({"avx512_bf16"}))


def _types_that_ran(wanted: str, quantized: Rewrite | None) -> dict[str, set[str]]:
    """The types of the tensors that one training step computed, by the type of their operation."""
    dataset = columns((8, 8, 1), 10)
    graph = training(NETWORK, dataset, Optimizer(), weight_decay=1e-4, seed=1, rewrite=quantized)
    feed = graph.feed(batch(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int32)), 0.1)
    options = v1.RunOptions(output_partition_graphs=True)
    metadata = v1.RunMetadata()
    with session(graph.graph, 2, wanted) as opened, graph.graph.as_default():
        opened.run(v1.global_variables_initializer())
        opened.run([graph.loss, graph.step], feed, options=options, run_metadata=metadata)
    types: dict[str, set[str]] = {}
    for part in metadata.partition_graphs:
        for node in part.node:
            kind = node.op.removeprefix("_Mkl").removeprefix("Native").removeprefix("_Fused").removeprefix("Fused")
            types.setdefault(kind, set()).add(tf.as_dtype(node.attr["T"].type).name if "T" in node.attr else "")
    return types


def test_layers_compute_in_bfloat16_and_exact_operations_in_float32() -> None:
    ran = _types_that_ran("bfloat16", rewrite(Options(mean=128, std_dev=64, mode="tf1")))
    for layer in ("Conv2D", "MatMul", "Conv2DBackpropFilter", "Conv2DBackpropInput"):
        assert ran[layer] == {"bfloat16"}, layer
    for exact in ("LogSoftmax", "ResourceApplyMomentum", "AssignSub", "L2Loss"):
        assert ran[exact] == {"float32"}, exact
    assert "FakeQuantWithMinMaxVars" in ran  # it has no other form than float32


def test_float32_is_float32_throughout() -> None:
    assert not [kind for kind, types in _types_that_ran("float32", None).items() if "bfloat16" in types]


@pytest.mark.usefixtures("_with_instructions")
def test_two_bfloat16_trainings_give_the_same_bytes_and_another_than_float32(learn: Learn, tmp_path: Path) -> None:
    for run, wanted in (("one", "bfloat16"), ("other", "bfloat16"), ("exact", "float32")):
        learn(tmp_path / run, quantized=True, precision=wanted)
    one, other, exact = (tensors(tmp_path / run / "out/model.ckpt-12") for run in ("one", "other", "exact"))
    assert one == other
    assert one["DigitsNet/conv1/weights"] != exact["DigitsNet/conv1/weights"]
    assert {name: len(value) for name, value in one.items()} == {name: len(value) for name, value in exact.items()}


def test_a_processor_without_bfloat16_falls_back_to_float32_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision, "_processor_flags", lambda: frozenset({"avx2"}))
    assert precision.available("bfloat16") == "float32"
    said = capsys.readouterr().out
    assert "no bfloat16 instructions" in said
    assert "float32" in said


@pytest.mark.usefixtures("_with_instructions")
def test_a_processor_with_bfloat16_takes_the_requested_precision() -> None:
    assert [precision.available(each) for each in ("bfloat16", "float32")] == ["bfloat16", "float32"]
