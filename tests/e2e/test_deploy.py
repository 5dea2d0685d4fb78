"""Every route to a target, taken by real doit with the real tools, for the digits model.

A tool that is not installed skips its tests, which in CI fails the run: .ci/run installs them all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

from qatbuild.exchange.scaling import Scaling
from qatbuild.schema.routes import ROUTES
from tests.e2e.conftest import REPOSITORY, Project
from tests.e2e.test_stories import ran

LABEL = "digits-deploy"
PACKAGES = {"coreml": ["coremltools"], "vela": ["ethosu"], "onnx": ["tf2onnx", "onnx", "onnxruntime"]}
PROGRAMS = {"c_array": ["cc", "c++"], "tf_cpp": ["cc"]}


def lacking(route: str) -> str:
    """A sentence with the tools that this machine lacks for a route; empty if it has all."""
    absent = [name for name in PACKAGES.get(route, []) if importlib.util.find_spec(name) is None]
    absent += [name for name in PROGRAMS.get(route, []) if shutil.which(name) is None]
    if route == "armnn" and subprocess.run(["/usr/bin/python3", "-c", "import pyarmnn"], check=False).returncode:
        absent.append("Debian's pyarmnn")
    return f"this machine has no {', '.join(absent)}" if absent else ""


@pytest.fixture(scope="module")
def deployed(digits: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The digits project again, with every route of digits-deploy taken side by side."""
    root = tmp_path_factory.mktemp("deploy") / "project"
    shutil.copytree(digits.root, root)
    shutil.copy(REPOSITORY / f"specs/{LABEL}.json", root / "specs")
    project = Project(root)
    done = project.doit("-c", "-n", "2", LABEL)
    (root / "deploy.txt").write_text(done.stdout)
    assert (done.returncode == 0) == (not any(map(lacking, ROUTES))), done.stdout + done.stderr
    return project


def folder(project: Project, route: str) -> Path:
    """The artifacts of a route that this machine has the tools for."""
    if reason := lacking(route):
        pytest.skip(reason)
    return project.root / "build" / LABEL / "deploy" / route


def route_facts(project: Project, route: str) -> dict[str, Any]:
    return dict(json.loads((folder(project, route) / "route.json").read_text()))


def images(project: Project) -> np.ndarray:
    (path,) = project.root.glob("build/shared/dataset-*/test/images.npy")
    return np.array(np.load(path))


def answers(model: Path, inputs: np.ndarray) -> np.ndarray:
    """LiteRT's outputs for images, one by one."""
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    rows = []
    for image in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.array(rows)


@pytest.mark.parametrize("route", ROUTES)
def test_route_json_names_tools_files_comparison_and_verdict(deployed: Project, route: str) -> None:
    facts, home = route_facts(deployed, route), folder(deployed, route)
    assert facts["verdict"] == "passed"
    assert all(facts["versions"].values())
    model = (deployed.root / "build" / LABEL / "model.tflite").read_bytes()
    assert facts["reference"]["sha256"] == hashlib.sha256(model).hexdigest()
    assert facts["reference"]["runtime"].startswith("ai-edge-litert 2.")
    assert facts["files"]
    for file in facts["files"]:
        data = (home / file["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    if route == "vela":
        assert "no interpreter" in facts["why_not_run"]
    else:
        assert facts["comparison"]["examples"] >= 100
        assert facts["comparison"]["top1_percent"] >= 98
        assert facts["comparison"]["max_lsb"] < 64


def test_shipped_spec_takes_every_route() -> None:
    assert set(json.loads((REPOSITORY / f"specs/{LABEL}.json").read_text())["deploy"]) == set(ROUTES)


def test_second_build_takes_no_route_and_an_edit_takes_one(deployed: Project) -> None:
    if any(map(lacking, ROUTES)):
        pytest.skip("a route that this machine cannot take is tried again by every build")
    assert ran(deployed.build(LABEL)) == []
    path = deployed.root / "specs" / f"{LABEL}.json"
    before, home = path.read_text(), folder(deployed, "vela")
    kept = home.with_name("kept")
    shutil.copytree(home, kept)
    path.write_text(before.replace("ethos-u55-128", "ethos-u55-256"))
    assert ran(deployed.build(LABEL)) == ["deploy.vela"]
    assert "256" in (home / "vela.txt").read_text().partition("System")[0]
    path.write_text(before)
    (home / "model_vela.tflite").unlink()
    shutil.rmtree(deployed.root / "build/.store")
    assert ran(deployed.build(LABEL)) == ["deploy.vela"]
    for file in json.loads((kept / "route.json").read_text())["files"]:  # equal options, equal bytes
        if not file["name"].endswith(".csv"):
            assert (home / file["name"]).read_bytes() == (kept / file["name"]).read_bytes()


def test_litert_model_carries_labels_and_normalization_as_the_format_has_them(deployed: Project) -> None:
    model = folder(deployed, "litert") / "model.tflite"
    content = flatbuffer_utils.read_model(str(model))
    (entry,) = [each for each in content.metadata if each.name == b"TFLITE_METADATA"]
    assert bytes(content.buffers[entry.buffer].data)[4:8] == b"M001"
    with zipfile.ZipFile(io.BytesIO(model.read_bytes())) as archive:
        assert archive.read("labels.txt").decode().split() == list("0123456789")
    plain = deployed.root / "build" / LABEL / "model.tflite"
    inputs = images(deployed)[:20]
    assert np.array_equal(answers(model, inputs), answers(plain, inputs))
    assert json.loads((model.parent / "benchmark.json").read_text())["latency"]["num_runs"] == 50


def test_armnn_s_program_runs_by_itself(deployed: Project, tmp_path: Path) -> None:
    home = folder(deployed, "armnn")
    np.save(tmp_path / "images.npy", images(deployed)[:5])
    command = ["/usr/bin/python3", str(home / "run_armnn.py"), str(home / "model.tflite"), "images.npy", "outputs.npy"]
    subprocess.run(command, cwd=tmp_path, check=True)
    ours, theirs = np.load(tmp_path / "outputs.npy"), answers(home / "model.tflite", images(deployed)[:5])
    assert np.array_equal(ours.argmax(1), theirs.argmax(1))


def test_coreml_models_take_an_image_and_give_a_label(deployed: Project) -> None:
    home = folder(deployed, "coreml")
    utilities = pytest.importorskip("coremltools").utils
    for name in ("model.mlpackage", "model.mlmodel"):
        description = utilities.load_spec(str(home / name)).description
        assert description.input[0].type.WhichOneof("Type") == "imageType"
        assert description.predictedFeatureName == "classLabel"
    network = utilities.load_spec(str(home / "model.mlmodel")).neuralNetworkClassifier
    assert list(network.stringClassLabels.vector) == list("0123456789")
    assert network.preprocessing[0].scaler.channelScale == pytest.approx(1 / 255)
    bits = {
        layer.convolution.weights.quantization.numberOfBits for layer in network.layers if layer.HasField("convolution")
    }
    assert bits == {8}
    figures = route_facts(deployed, "coreml")["figures"]
    assert figures["bytes"]["model.mlmodel"] < figures["bytes"]["float_graph.pb"] / 3
    compile((home / "predict_on_mac.py").read_text(), "predict_on_mac.py", "exec")


def test_rounded_and_baked_graphs_compress_better_and_the_baked_one_converts_to_the_same_model(
    deployed: Project,
) -> None:
    from qatbuild.worker.tflite.convert import convert  # noqa: PLC0415  TensorFlow
    from qatbuild.worker.tflite.ends import wanted  # noqa: PLC0415

    home, sizes = folder(deployed, "round_weights"), route_facts(deployed, "round_weights")["figures"]["bytes"]
    whole = sizes["frozen_graph.pb"]["zipped"]
    assert sizes["baked_graph.pb"]["zipped"] < sizes["rounded_graph.pb"]["zipped"] < whole / 2
    baked = home / "baked_graph.pb"
    assert len(zlib.compress(baked.read_bytes(), 9)) == sizes["baked_graph.pb"]["zipped"]
    takes, gives = {"images": ("input", Scaling(0, 255))}, {"labels": "DigitsNet/Predictions/Softmax"}
    again = convert(baked, wanted(baked, takes, gives, "uint8"), scheme="uint8")
    assert again == (deployed.root / "build" / LABEL / "model.tflite").read_bytes()


def test_c_program_gets_what_python_gets(deployed: Project) -> None:
    assert route_facts(deployed, "tf_cpp")["figures"]["largest_difference"] <= 1e-6
    assert (folder(deployed, "tf_cpp") / "run_graph.c").is_file()


def test_vela_s_model_is_for_the_npu_and_its_figures_are_vela_s_own(deployed: Project) -> None:
    home, figures = folder(deployed, "vela"), route_facts(deployed, "vela")["figures"]
    codes = flatbuffer_utils.read_model(str(home / "model_vela.tflite")).operatorCodes
    assert [code.customCode for code in codes] == [b"ethos-u"]
    assert (figures["npu_percent"], figures["on_cpu"]) == (100, [])
    assert figures["operators"] < figures["vela_npu_operators"]  # Of one softmax it makes 30.
    assert [gate["name"] for gate in route_facts(deployed, "vela")["gates"]] == ["input and output", "min_npu_percent"]
    printed = (home / "vela.txt").read_text()
    assert re.search(rf"Total SRAM used +{figures['sram_kib']:.2f} KiB", printed)
    assert figures["inferences_per_second"] == pytest.approx(figures["clock_hz"] / figures["cycles"], rel=0.01)
    assert figures["off_chip_flash_kib"] > 0


def test_test_vectors_are_what_litert_answers(deployed: Project) -> None:
    text = (folder(deployed, "c_array") / "test_vectors.h").read_text()
    inputs, outputs = (
        np.array(
            [[int(word) for word in re.findall(r"\d+", row)] for row in re.findall(r"\{([^{}]+)\}", table)], np.uint8
        )
        for table in re.findall(r"test_(?:inputs|outputs)\[\d+\]\[\d+\] = \{(.*?)\};", text, re.DOTALL)
    )
    model = deployed.root / "build" / LABEL / "model.tflite"
    pixels = inputs.reshape(-1, 8, 8, 1)
    assert np.array_equal(pixels[0], images(deployed)[0])
    assert np.array_equal(answers(model, pixels).argmax(1), outputs.argmax(1))


def test_onnx_model_is_quantized_at_both_ends(deployed: Project) -> None:
    facts = route_facts(deployed, "onnx")
    assert facts["figures"]["operators"]["QuantizeLinear"] >= 5
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(folder(deployed, "onnx") / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [end.type for end in (*session.get_inputs(), *session.get_outputs())] == ["tensor(uint8)"] * 2
