"""What the routes refuse, find and say, without the tools of their targets."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qatbuild.deploy import agreement_gate, agreement_percent, armnn, metadata, needs, round_weights, vela
from qatbuild.errors import DeployError
from qatbuild.tflite.inspect import Flatbuffer, Operator, Tensor


@pytest.mark.parametrize("route", ["coreml", "vela", "onnx"])
def test_missing_package_is_one_error_that_says_how_to_install_it(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "absent_tool", None)
    with pytest.raises(DeployError) as caught:
        needs.module("absent_tool.part", route)
    block = caught.value.block()
    assert "absent_tool" in block
    assert f"pip install 'qatbuild[{route}]'" in block


def test_missing_program_names_debian_s_package() -> None:
    with pytest.raises(DeployError, match="apt-get install gcc"):
        needs.program("no-such-compiler", route="c_array", debian="gcc g++")


def test_missing_armnn_names_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(armnn, "_PYTHON", Path("/bin/false"))
    with pytest.raises(DeployError, match="apt-get update && apt-get install"):
        armnn.build(SimpleNamespace(), {}, tmp_path)


def test_command_that_fails_shows_the_end_of_what_it_printed() -> None:
    with pytest.raises(DeployError) as caught:
        needs.called(["sh", "-c", "echo first; echo why >&2; exit 3"], "The tool cannot do it.", "another way")
    facts = dict(caught.value.facts)
    assert (facts["command"], facts["status"]) == ("sh", "3")
    assert "why" in facts["its end"]


def padded(zero_point: int) -> Flatbuffer:
    tensor = Tensor("Net/block/Pad", "uint8", (1, 8, 8, 1), (0.1,), (zero_point,))
    return Flatbuffer((Operator("PAD", 1, (0,), (1,)),), (tensor, tensor), (0,), (1,))


def test_standalone_pad_with_a_zero_point_is_found_and_named() -> None:
    assert armnn.shifted_pads(padded(0)) == ()
    (found,) = armnn.shifted_pads(padded(128))
    assert "block" in found
    assert "zero point 128" in found


def test_agreement_counts_the_lowest_of_equal_scores_and_no_gate_is_no_gate() -> None:
    ours = np.array([[1, 1, 0], [0, 2, 1], [0, 0, 3], [5, 0, 0]])
    assert agreement_percent(ours, np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 9, 0]])) == 75
    assert agreement_gate(None, 0, "anything") == ()
    assert [gate["passed"] for wanted in (75.0, 75.1) for gate in agreement_gate(wanted, 75, "it")] == [True, False]


def transformed(values: np.ndarray, num_steps: int) -> np.ndarray:
    """The transform as its documentation says it, one value at a time in float32."""
    low, high = np.float32(values.min()), max(np.float32(values.max()), np.finfo(np.float32).tiny)
    width = np.float32((high - low) / np.float32(num_steps))
    return np.array([low + np.float32(np.floor((value - low) / width) + np.float32(0.5)) * width for value in values])


@pytest.mark.parametrize("num_steps", [2, 16, 256])
def test_rounded_weights_are_middles_of_steps(num_steps: int) -> None:
    values = np.random.default_rng(1).normal(size=500).astype(np.float32)
    rounded = round_weights.rounded_values(values, num_steps)
    width = (values.max() - values.min()) / num_steps
    assert len(np.unique(rounded)) <= num_steps + 1
    assert np.abs(rounded - values).max() <= width / 2 * 1.001
    assert rounded.max() > values.max()  # the highest value falls into one step more, as in the original
    assert np.allclose(rounded, transformed(values, num_steps), atol=1e-6)


def test_rounding_keeps_the_original_s_ways_with_negative_and_constant_tensors() -> None:
    negative = np.linspace(-2, -1, 16, dtype=np.float32)
    assert round_weights.rounded_values(negative, 4).tolist() == [-1.75] * 8 + [-1.25] * 7 + [-0.75]
    assert round_weights.rounded_values(np.full(16, 3, np.float32), 2).tolist() == [3.75] * 16
    assert np.isfinite(round_weights.rounded_values(np.zeros(16, np.float32), 256)).all()


def test_vela_s_operators_are_counted_and_what_is_left_is_named() -> None:
    printed = "CPU operators = 1 (25.0%)\nNPU operators = 3 (75.0%)\nWarning: LRN is placed on the CPU\n"
    assert vela._operators(printed) == (75.0, 3, 1)  # noqa: SLF001
    assert vela._left(printed) == "\nLRN is placed on the CPU"  # noqa: SLF001
    with pytest.raises(DeployError, match="does not say"):
        vela._operators("nothing")  # noqa: SLF001


def test_metadata_comes_back_as_it_was_written_with_letters_of_any_language(small_model: Path, tmp_path: Path) -> None:
    written = metadata.Metadata(
        "net", "erkennt Gemüse", "2", "", "MIT", (8, 6, 3), 121.0, 64.0, 0.0, 255.0, ("Möhre", "日本")
    )
    first, second = tmp_path / "a.tflite", tmp_path / "b.tflite"
    metadata.write(small_model, written, first)
    metadata.write(first, written, second)
    assert metadata.read(first) == metadata.read(second) == written
    again = tmp_path / "c.tflite"
    metadata.write(small_model, written, again)
    assert again.read_bytes() == first.read_bytes()
    with pytest.raises(KeyError):
        metadata.read(small_model)
