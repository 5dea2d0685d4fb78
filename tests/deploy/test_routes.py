"""The routes' errors, checks and messages, without the tools of their targets."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.errors import DeployError
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.deploy import (
    Samples,
    agreement_gate,
    agreement_percent,
    armnn,
    c_array,
    c_array_operators,
    coreml,
    litert,
    metadata,
    round_weights,
    tools,
    vela,
)
from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.inspect import Flatbuffer, Operator, Tensor
from tests.hints import follows


@pytest.mark.parametrize("route", ["coreml", "vela", "onnx"])
def test_missing_package_is_one_error_that_says_how_to_install_it(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "absent_tool", None)
    with pytest.raises(DeployError) as caught:
        tools.module("absent_tool.part", route)
    block = caught.value.block()
    assert "absent_tool" in block
    assert f"pip install 'qatbuild[{route}]'" in block


def test_missing_program_names_debian_s_package() -> None:
    with pytest.raises(DeployError, match="apt-get install gcc"):
        tools.program("no-such-compiler", route="c_array", debian="gcc g++")


def test_missing_armnn_names_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(armnn, "_PYTHON", Path("/bin/false"))
    subject: Any = SimpleNamespace()
    with pytest.raises(DeployError, match="apt-get update && apt-get install"):
        armnn.build(subject, {}, tmp_path)


def test_command_that_fails_shows_the_end_of_what_it_printed() -> None:
    with pytest.raises(DeployError) as caught:
        tools.called(["sh", "-c", "echo first; echo why >&2; exit 3"], "The tool cannot do it.", "another way")
    facts = dict(caught.value.facts)
    assert (facts["command"], facts["status"]) == ("sh", "3")
    assert "why" in facts["its end"]


def padded(zero_point: int) -> Flatbuffer:
    tensor = Tensor("Net/block/Pad", "uint8", (1, 8, 8, 1), (0.1,), (zero_point,))
    return Flatbuffer((Operator("PAD", 1, (0,), (1,)),), (tensor, tensor), (0,), (1,))


def test_standalone_pad_with_a_zero_point_is_found_and_named() -> None:
    assert armnn.shifted_pads(padded(0)) == ()
    (pad,) = armnn.shifted_pads(padded(128))
    assert "block" in pad
    assert "zero point 128" in pad


def test_dense_layer_without_bias_is_named_for_arm_nn_cannot_parse_it() -> None:
    tensor = Tensor("Net/fc3/MatMul", "uint8", (1, 8), (0.1,), (0,))
    layers = [Operator("FULLY_CONNECTED", 1, inputs, (3,)) for inputs in ((0, 1), (0, 1, 2))]
    assert armnn.biasless(Flatbuffer(tuple(layers), (tensor,) * 4, (0,), (3,))) == ("fc3",)
    assert armnn.biasless(Flatbuffer(tuple(layers[1:]), (tensor,) * 4, (0,), (3,))) == ()


def test_images_of_two_channels_are_a_tensor_for_core_ml() -> None:
    kinds: Any = SimpleNamespace(
        TensorType=lambda **settings: settings,
        ClassifierConfig=list,
        convert=lambda *_, **settings: settings["inputs"],
        precision=SimpleNamespace(FLOAT32="float32"),
    )  # fmt: skip
    samples = SimpleNamespace(images=np.zeros((1, 8, 8, 2), np.uint8), scaling=Scaling(0, 1))
    subject: Any = SimpleNamespace(graphs=SimpleNamespace(input="input", output="out"), samples=samples, class_names=())
    with pytest.raises(DeployError, match="1 or 3 channels") as caught:
        coreml._converted(kinds, subject, {"image_input": True}, None, "mlprogram")  # noqa: SLF001
    assert caught.value.hint == follows('"image_input": false')
    (taken,) = coreml._converted(kinds, subject, {"image_input": False}, None, "mlprogram")  # noqa: SLF001
    assert taken == {"name": "input", "shape": (1, 8, 8, 2)}


def test_a_benchmark_that_fails_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "beside_python", lambda _: Path("/bin/false"))
    options = {"benchmark_runs": 1, "benchmark_threads": 1}
    with pytest.raises(DeployError) as caught:
        litert._benchmark(tmp_path / "model.tflite", options, tmp_path)  # noqa: SLF001
    assert caught.value.hint == follows('"benchmark_runs": 0 leaves the benchmark out')
    assert litert._benchmark(tmp_path / "model.tflite", {**options, "benchmark_runs": 0}, tmp_path) == ()  # noqa: SLF001


def test_the_extras_that_hints_name_exist() -> None:
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert {"coreml", "onnx", "vela"} <= set(extras)


def test_metadata_is_refused_for_images_that_the_format_does_not_know(tmp_path: Path) -> None:
    subject: Any = SimpleNamespace(samples=SimpleNamespace(images=np.zeros((1, 8, 8, 2), np.uint8)))
    with pytest.raises(DeployError, match="1 or 3 channels"):
        litert.build(subject, {}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_agreement_counts_the_lowest_of_equal_scores_and_no_gate_is_no_gate() -> None:
    ours = np.array([[1, 1, 0], [0, 2, 1], [0, 0, 3], [5, 0, 0]])
    assert agreement_percent(ours, np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 9, 0]])) == 75
    assert agreement_gate(None, 0, "anything") == ()
    assert [gate.passed for wanted in (75.0, 75.1) for gate in agreement_gate(wanted, 75, "it")] == [True, False]


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


def test_operators_that_vela_left_are_named_with_its_reasons() -> None:
    tensor = Tensor("Net/conv1/Relu", "uint8", (1, 8), (0.1,), (0,))
    left = Flatbuffer(
        (Operator("CONV_2D", 1, (0,), (1,)), Operator("CUSTOM", 1, (1,), (2,))), (tensor,) * 3, (0,), (2,)
    )
    assert vela.on_cpu(left) == ("conv1 (CONV_2D)",)
    printed = (  # of Vela 5.2
        "Warning (supported operators) operator: CONV_2D, ofm: 'Net/conv1/Relu'\n"
        "Reason: Unsupported kernel stride: 5, 5\n"
        "Stride>3 is only supported IF (dilation = 1 AND padding = VALID)\n\nCPU operators = 1\nNPU operators = 32\n"
    )
    (reason,) = vela._reasons(printed)  # noqa: SLF001
    assert reason.startswith("CONV_2D: Reason: Unsupported kernel stride: 5, 5 Stride>3")
    assert vela._counts(printed) == {"vela_npu_operators": 32, "vela_cpu_operators": 1}  # noqa: SLF001
    with pytest.raises(DeployError, match="output lacks"):
        vela._counts("nothing")  # noqa: SLF001


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


def test_failed_tool_shows_the_exception_or_the_end_of_its_output() -> None:
    program = "import sys; print('before'); raise ValueError('section Nope not found\\nin my.ini')"
    with pytest.raises(DeployError) as failure:
        tools.called([sys.executable, "-c", program], "The tool fails.")
    assert dict(failure.value.facts)["its end"] == "ValueError: section Nope not found\nin my.ini"
    with pytest.raises(DeployError) as failure:
        tools.called([sys.executable, "-c", "print('no\\n' * 50 + 'the end'); exit(3)"], "The tool fails.")
    assert str(dict(failure.value.facts)["its end"]).splitlines()[-2:] == ["no", "the end"]


def test_operators_are_registered_by_the_names_that_tflite_micro_has() -> None:
    names = ("DEPTHWISE_CONV_2D", "PADV2", "TILE", "HARD_SWISH", "MAX_POOL_2D", "RESHAPE", "RESHAPE", "RELU_N1_TO_1")
    needed = c_array_operators.resolver(names)
    assert needed.adders == ("AddDepthwiseConv2D", "AddHardSwish", "AddMaxPool2D", "AddPadV2", "AddReshape")
    assert needed.missing == ("RELU_N1_TO_1", "TILE")


def test_readers_of_the_metadata_that_refuse_the_images_are_named() -> None:
    assert litert._refusals("uint8", 3) == ()  # noqa: SLF001
    (said,) = litert._refusals("int8", 1)  # noqa: SLF001
    assert "int8 one-channel" in said


@pytest.mark.parametrize(("runtime", "failed"), [("any", []), ("tflm", ["TFLite Micro's operators"])])
def test_c_arrays_name_the_operators_that_tflite_micro_lacks(
    runtime: str, failed: list[str], small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = tuple(Tensor(name, "int8", (1, 2), (0.5,), (0,)) for name in ("input", "output"))
    operators = tuple(Operator(name, 1, (0,), (1,)) for name in ("TILE", "SOFTMAX"))
    monkeypatch.setattr(inspect, "read", lambda _: Flatbuffer(operators, ends, (0,), (1,)))
    monkeypatch.setattr(tools, "program", lambda *_, **__: Path("cc"))
    monkeypatch.setattr(tools, "called", lambda *_: "cc 1")
    monkeypatch.setattr(tools, "output", lambda _: small_model.read_bytes())
    monkeypatch.setattr(c_array, "Model", lambda *_, **__: SimpleNamespace(run=lambda images: images))
    samples = Samples(np.zeros([1, 2], np.uint8), np.zeros(1, np.int32), Scaling(0, 1), np.zeros([1, 2], np.int8))
    subject: Any = SimpleNamespace(
        tflite=small_model, samples=samples, integer_images=samples.images, work=tmp_path, real=lambda codes: codes
    )
    options = {"name": "net", "runtime": runtime, "vectors": 1, "alignment_bytes": 16}
    outcome = c_array.build(subject, options, tmp_path)
    assert [gate.name for gate in outcome.gates if not gate.passed] == failed
    assert outcome.warnings == (f"TFLite Micro ({c_array_operators.AS_OF}) cannot run it: it has no TILE.",)
    text = (tmp_path / "model_io.h").read_text()
    assert "MicroMutableOpResolver<1>:\n//   resolver.AddSoftmax();\n" in text
    assert f"// TFLite Micro ({c_array_operators.AS_OF}) has no TILE.\n" in text
