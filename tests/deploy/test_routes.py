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
    Subject,
    agreement,
    armnn,
    armnn_faults,
    c_array,
    c_array_operators,
    coreml,
    litert,
    metadata,
    round_weights,
    tools,
    vela,
)
from qatbuild.worker.inputs import NetworkInput
from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.inspect import Flatbuffer, Operator, Tensor
from tests.deploy.subjects import classifier, with_reals
from tests.hints import follows

METADATA = {"description": "", "version": "", "author": "", "license": ""}


@pytest.fixture
def two_ends(tmp_path: Path) -> Subject:
    """Three examples of images and features, with a class and a pose each."""
    raw: Any = {"images": np.zeros((3, 1, 1, 1), np.uint8), "features": np.zeros((3, 2), np.float32)}
    reference = {"labels": np.eye(3, 4, dtype=np.int8), "pose": np.zeros((3, 2), np.int8)}
    return with_reals(tmp_path / "model.tflite", raw, reference, tmp_path)


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
    assert armnn_faults.shifted_pads(padded(0)) == ()
    (pad,) = armnn_faults.shifted_pads(padded(128))
    assert "block" in pad
    assert "zero point 128" in pad


def test_dense_layer_without_bias_is_named_for_arm_nn_cannot_parse_it() -> None:
    tensor = Tensor("Net/fc3/MatMul", "uint8", (1, 8), (0.1,), (0,))
    layers = [Operator("FULLY_CONNECTED", 1, inputs, (3,)) for inputs in ((0, 1), (0, 1, 2))]
    assert armnn_faults.biasless(Flatbuffer(tuple(layers), (tensor,) * 4, (0,), (3,))) == ("fc3",)
    assert armnn_faults.biasless(Flatbuffer(tuple(layers[1:]), (tensor,) * 4, (0,), (3,))) == ()


def test_operators_that_arm_nn_does_not_parse_are_named_with_their_layers() -> None:
    tensors = tuple(Tensor(f"Net/{name}", "uint8", (1, 8), (0.1,), (0,)) for name in ("x", "scores", "classes", "rows"))
    operators = [Operator(name, 1, (0,), (index,)) for index, name in enumerate(("SOFTMAX", "ARG_MAX", "GATHER"), 1)]
    assert armnn_faults.parser_hint(Flatbuffer(tuple(operators[:1]), tensors, (0,), (1,))) == ""
    hint = follows('write "values": "logits" in the output, and take the index of the greatest in the application')
    wanted = f"Arm NN 20.08 has no ARG_MAX (classes): {hint}; Arm NN 20.08 has no GATHER (rows)"
    assert armnn_faults.parser_hint(Flatbuffer(tuple(operators), tensors, (0,), (3,))) == wanted


def test_images_of_two_channels_are_a_tensor_for_core_ml() -> None:
    kinds: Any = SimpleNamespace(
        TensorType=lambda **settings: settings,
        ClassifierConfig=list,
        convert=lambda *_, **settings: settings["inputs"],
        precision=SimpleNamespace(FLOAT32="float32"),
    )  # fmt: skip
    subject: Any = SimpleNamespace(
        graphs=SimpleNamespace(inputs={"images": "input"}, outputs={"labels": "out"}),
        inputs={"images": NetworkInput("images", (8, 8, 2), Scaling(0, 1))},
        lone_classes=(),
    )
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


def test_images_that_the_metadata_format_does_not_know_are_features(small_model: Path, tmp_path: Path) -> None:
    subject = classifier(small_model, np.zeros((2, 8, 8, 2), np.uint8), np.zeros((2, 4), np.int8), tmp_path)
    written = litert._metadata(subject, METADATA)  # noqa: SLF001
    assert written.inputs[0].image is None
    assert written.inputs[0].description == "Bytes, 8 x 8 x 2, each less 128."
    assert litert._refusals(subject, written) == (  # noqa: SLF001
        "The Task Library's ImageClassifier takes no int8 other images: run it with LiteRT's interpreter.",
    )


def test_agreement_counts_the_lowest_of_equal_scores_and_no_gate_is_no_gate(tmp_path: Path) -> None:
    theirs = np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 9, 0]], np.uint8)
    subject = classifier(tmp_path, np.zeros((4, 1, 1, 1), np.uint8), theirs, tmp_path)
    ours = subject.real({"labels": np.array([[1, 1, 0], [0, 2, 1], [0, 0, 3], [5, 0, 0]])})
    compared = agreement.compared(subject, ours, subject.reference)
    assert (compared["labels"].same_percent, compared["labels"].max_lsb) == (75, 9)
    assert agreement.gates(None, compared, "anything") == ()
    gates = [gate for wanted in (75.0, 75.1) for gate in agreement.gates(wanted, compared, "it")]
    assert [(gate.name, gate.passed) for gate in gates] == [("min_agreement", True), ("min_agreement", False)]


def test_real_outputs_agree_where_they_are_two_steps_apart(two_ends: Subject) -> None:
    reference = two_ends.samples.reference
    ours = {name: each.astype(np.int64) for name, each in reference.items()}
    ours["pose"] += np.array([[0, 1], [2, -2], [0, 3]])
    compared = agreement.compared(two_ends, two_ends.real(ours), two_ends.reference)
    assert tuple(compared["labels"]) == (100, 100, 0, 0)
    assert tuple(compared["pose"]) == (None, 83.3333, 3, 1.73)
    first, second = agreement.gates(90.0, compared, "LiteRT")
    assert (first.name, first.passed) == ("min_agreement labels", True)
    assert (second.name, second.passed) == ("min_agreement pose", False)
    assert second.wanted == "at least 90 % of the values within 2 LSB of LiteRT"


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
    image = metadata.End("image", "Fotos", 0.0, 255.0, (8, 6, 3), 121.0, 64.0)
    vegetable = metadata.End("probability", "", 0.0, 1.0, labels=("Möhre", "日本"), labels_file="labels.txt")
    size = metadata.End("size", "in m", -2.5, 1.5)
    written = metadata.Metadata("net", "erkennt Gemüse", "2", "", "MIT", (image, size), (size, vegetable))
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


def test_readers_of_the_metadata_that_refuse_the_images_are_named(tmp_path: Path, two_ends: Subject) -> None:
    def said(channels: int, dtype: Any) -> tuple[str, ...]:
        subject = classifier(tmp_path, np.zeros((1, 8, 8, channels), np.uint8), np.zeros((1, 4), dtype), tmp_path)
        return litert._refusals(subject, litert._metadata(subject, METADATA))  # noqa: SLF001

    assert said(3, np.uint8) == ()
    assert "int8 one-channel" in said(1, np.int8)[0]
    assert litert._refusals(two_ends, litert._metadata(two_ends, METADATA)) == ()  # noqa: SLF001


def test_metadata_of_real_values_says_how_to_make_integers_of_them(two_ends: Subject) -> None:
    written = litert._metadata(two_ends, METADATA)  # noqa: SLF001
    features, image = written.inputs
    assert features.description == "Real values, 2: integer = round(value / 0.03125) + 3, saturated."
    assert (features.lowest, features.highest) == pytest.approx((-131 / 32, 124 / 32))
    assert (image.name, image.image) == ("images", (1, 1, 1))
    labels, pose = written.outputs
    assert (labels.labels_file, len(labels.labels)) == ("labels_labels.txt", 4)
    assert pose.description == "Integers: value = (integer - -2) * 0.0625."


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
    subject = classifier(small_model, np.zeros((1, 1, 1, 2), np.uint8), np.zeros((1, 2), np.int8), tmp_path)
    monkeypatch.setattr(Subject, "run", lambda subject, _: subject.samples.reference)
    options = {"name": "net", "runtime": runtime, "vectors": 1, "alignment_bytes": 16}
    outcome = c_array.build(subject, options, tmp_path)
    assert [gate.name for gate in outcome.gates if not gate.passed] == failed
    assert outcome.warnings == (f"TFLite Micro ({c_array_operators.AS_OF}) cannot run it: it has no TILE.",)
    text = (tmp_path / "model_io.h").read_text()
    assert "MicroMutableOpResolver<1>:\n//   resolver.AddSoftmax();\n" in text
    assert f"// TFLite Micro ({c_array_operators.AS_OF}) has no TILE.\n" in text
