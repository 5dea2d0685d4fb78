"""Whole builds with the real toolchain: edits, failures, interruptions."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.architecture.test_contracts import imported
from tests.conftest import SHARED
from tests.e2e.conftest import REPOSITORY, Project, new_project
from tests.slow_training import HOLD, slow_model

CIFAR = SHARED / "data/cifar10/cifar-10-binary.tar.xz"


def ran(printed: str) -> list[str]:
    """The stages that a build says it ran."""
    return [line.split(":")[1] for line in printed.splitlines() if line.startswith(".  ")]


def test_edit_reruns_exactly_the_stages_that_read_it(project: Project) -> None:
    project.spec("net")
    assert ran(project.build()) == ["dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate"]
    assert ran(project.build()) == []
    assert not {"tensorflow", "numpy"} & imported("doit", cwd=project.root)

    project.spec("net", evaluate={"max_accuracy_drop": 99, "latency_runs": 5})
    assert ran(project.build()) == ["evaluate"]

    (project.root / "build/net/inference_graph.pb").unlink()
    assert "net:export: inference_graph.pb: missing (restored)" in (printed := project.build())
    assert ran(printed) == []

    (project.root / "build/net/inference_graph.pb").unlink()
    (project.root / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\n")
    assert ran(project.build()) == ["export"]

    (project.root / "pyproject.toml").unlink()
    project.spec("net")
    assert ran(project.build()) == []

    project.spec("twin", quantize={"steps": 21})
    printed = project.build("twin")
    assert "dataset" not in ran(printed)
    assert "float" not in ran(printed)


def test_side_by_side_is_the_same_bytes_as_one_after_the_other(tmp_path: Path) -> None:
    variants = {"int8": {"quantize": {"scheme": "int8"}}, "ptq": {"quantize": {"method": "ptq"}}}
    manifests = []
    for name, options in (("alone", []), ("together", ["-n", "2"])):
        each = new_project(tmp_path / name)
        each.spec("net", variants=variants)
        assert ran(each.build(*options)).count("quantize") == len(variants)
        build = each.root / "build"
        manifests.append({path.relative_to(build): path.read_text() for path in build.rglob("*.manifest.json")})
    assert manifests[0] == manifests[1]
    assert len(manifests[0]) >= 2 + 5 * len(variants)  # They hold the SHA-256 of every artifact.


def test_guide_s_own_scheme_trains_once_from_scratch(project: Project) -> None:
    project.spec("scratch", quantize={"start": "scratch", "quant_delay": 20})
    assert "float" not in ran(project.build())
    assert project.report("scratch")["bytes"]["ratio"] > 1


def arrays(project: Project, name: str, *shape: int) -> None:
    """Write specs/NAME: twenty black images of a shape, of ten classes."""
    images, labels = np.zeros((20, *shape), np.uint8), np.arange(20) % 10
    parts: dict[str, Any] = {
        "train_images": images,
        "train_labels": labels,
        "test_images": images,
        "test_labels": labels,
    }
    np.savez(project.root / "specs" / name, **parts)


def test_network_with_lrn_is_refused_before_training(project: Project) -> None:
    arrays(project, "dark.npz", 32, 32, 3)
    dataset = {"name": "npz", "path": "dark.npz"}
    project.spec("net", dataset=dataset, model={"name": "cifarnet", "lrn": True})
    done = project.doit("net")
    assert done.returncode == 1
    assert "norm1" in done.stdout
    assert "norm2" in done.stdout
    assert "LRN" in done.stdout
    assert '"lrn": false' in done.stdout
    assert "Traceback" not in done.stdout
    assert not list((project.root / "build/shared").glob("float-*"))


@pytest.mark.shared("data/cifar10")
def test_cifarnet_smoke_runs_the_whole_chain_on_the_real_archive(project: Project) -> None:
    for name in ("cifarnet.json", "cifarnet-smoke.json"):
        (project.root / "specs" / name).write_text((REPOSITORY / "specs" / name).read_text())
    (project.root / "specs/cifar.tar.xz").symlink_to(CIFAR)
    here = {"extends": "cifarnet-smoke.json", "dataset": {"path": "cifar.tar.xz"}}
    (project.root / "specs/here.json").write_text(json.dumps(here))
    project.build("here")
    report = project.report("here")
    assert report["examples"] == 10_000
    assert report["input"]["zero_point"] == 121
    assert report["input"]["scale"] == pytest.approx(1 / 64)
    assert report["bytes"]["ratio"] > 3.9
    assert report["top1"]["tflite"] > 15


def test_gate_that_is_not_met_fails_and_leaves_the_model(project: Project) -> None:
    project.spec("net", evaluate={"min_top1": 100, "max_accuracy_drop": 100, "latency_runs": 5})
    done = project.doit("net")
    assert done.returncode == 1
    assert "min_top1" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert (project.root / "build/net/model.tflite").is_file()
    assert project.report("net")["top1"]["tflite"] < 100


def test_data_that_is_not_there_is_one_error(project: Project) -> None:
    project.spec("net", dataset={"name": "cifar10", "path": "gone.tar"})
    done = project.doit("net")
    assert done.returncode == 1
    assert "gone.tar" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_data_of_a_shape_the_network_cannot_take_is_one_error(project: Project) -> None:
    arrays(project, "dots.npz", 2, 2, 1)
    project.spec("net", dataset={"name": "npz", "path": "dots.npz"})
    done = project.doit("net")
    assert done.returncode == 1
    assert "cannot take images of this shape" in done.stdout
    assert "2x2x1" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_failing_function_of_the_user_is_named_with_its_line(project: Project) -> None:
    (project.root / "net.py").write_text("def build(images, classes, *, training):\n    return 1 / 0\n")
    project.spec("net", model={"call": "net:build"})
    done = project.doit("net")
    assert done.returncode == 1
    assert "net.py:2: return 1 / 0" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "is a bug" not in done.stdout


def test_full_disk_is_one_error_and_publishes_nothing(project: Project) -> None:
    tiny = project.root / "build"
    tiny.mkdir()
    sudo = ["sudo", "-n"] if os.geteuid() and shutil.which("sudo") else []
    mount = [*sudo, "mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tiny)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs rights that this user has not")
    try:
        project.spec("net")
        done = project.doit("net:dataset")
        assert not list(tiny.glob("shared/*/*.manifest.json"))
    finally:
        subprocess.run([*sudo, "umount", tiny], check=True)
    assert done.returncode != 0
    assert "space" in done.stdout
    assert "is a bug" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture
def hold(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file whose removal lets a training of `slow_model` end."""
    file = project.root / "hold"
    file.touch()
    monkeypatch.setenv(HOLD, str(file))
    return file


def training_process(project: Project, doit: subprocess.Popen[str]) -> int:
    """The pid of the process that trains, once it has written its first checkpoint."""
    while doit.poll() is None:
        if list(project.root.glob("build/work/shared/float-*/float-*/resume/state.json")):
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    command = (folder / "cmdline").read_bytes()
                    cwd = (folder / "cwd").resolve()
                    parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                    above = (Path("/proc") / str(parent) / "cmdline").read_bytes()
                except OSError:
                    continue
                if (
                    b"qatbuild.worker.server" in command
                    and b"qatbuild.worker.server" in above
                    and cwd == project.root.resolve()
                ):
                    return int(folder.name)
        os.sched_yield()
    raise AssertionError("no training began")


def test_killed_training_is_one_error_and_goes_on_to_the_same_result(project: Project, hold: Path) -> None:
    train = json.loads((REPOSITORY / "specs/digits.json").read_text())["train"]
    project.spec("net", model=slow_model(project.root), train={**train, "checkpoint_every": 50})
    doit = subprocess.Popen(
        [sys.executable, "-m", "doit", "net:float"],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    os.kill(training_process(project, doit), signal.SIGKILL)
    printed, _ = doit.communicate()
    assert doit.returncode == 1
    assert "was killed by SIGKILL" in printed
    assert "log.txt" in printed

    hold.unlink()
    project.build("net:float")
    (resumed,) = project.root.glob("build/shared/float-*/float.manifest.json")
    assert "goes on from step" in (resumed.parent / "log.txt").read_text()
    text = resumed.read_text()
    resumed.unlink()
    (project.root / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\n")
    project.build("net:float")
    assert resumed.read_text() == text


@pytest.mark.usefixtures("hold")
def test_ctrl_c_saves_the_training_and_says_how_to_go_on(project: Project) -> None:
    train = json.loads((REPOSITORY / "specs/digits.json").read_text())["train"]
    project.spec("net", model=slow_model(project.root), train={**train, "steps": 5000})
    doit = subprocess.Popen(
        [sys.executable, "-m", "doit", "net:float"],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as a terminal does: the signal reaches every process of the build
    )
    while not list(project.root.glob("build/work/shared/float-*/float-*/resume/events/*")):
        assert doit.poll() is None
        os.sched_yield()
    os.killpg(doit.pid, signal.SIGINT)
    printed, complained = doit.communicate()
    assert doit.returncode == 128 + signal.SIGINT
    assert "interrupted; run doit again to go on" in complained
    assert "Traceback" not in printed + complained
    (state,) = project.root.glob("build/work/shared/float-*/float-*/resume/state.json")
    assert 0 < json.loads(state.read_text())["step"] < 5000


def test_the_user_s_own_network_goes_the_whole_way(project: Project) -> None:
    (project.root / "net.py").write_text(
        "import tensorflow as tf\n\n\n"
        "def build(images, classes, *, training, width):\n"
        "    kernel = tf.compat.v1.get_variable('conv/weights', [3, 3, 1, width])\n"
        "    bias = tf.compat.v1.get_variable('conv/biases', [width], initializer=tf.zeros_initializer())\n"
        "    net = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(images, kernel, 1, 'SAME'), bias))\n"
        "    net = tf.reshape(net, [-1, 64 * width])\n"
        "    if training:\n"
        "        net = tf.nn.dropout(net, rate=0.1)\n"
        "    weights = tf.compat.v1.get_variable('logits/weights', [64 * width, classes])\n"
        "    biases = tf.compat.v1.get_variable('logits/biases', [classes], initializer=tf.zeros_initializer())\n"
        "    return tf.nn.bias_add(tf.matmul(net, weights), biases)\n"
    )
    project.spec("net", model={"call": "net:build", "options": {"width": 4}})
    project.build("net")
    assert project.report("net")["gates"][0]["passed"]


@pytest.mark.parametrize("folder", ["build", "build/shared"])
def test_folder_that_cannot_be_written_is_one_error(project: Project, folder: str) -> None:
    project.spec("net")
    closed = project.root / folder
    (project.root / "build/.qatbuild").mkdir(parents=True)
    closed.mkdir(exist_ok=True)
    if folder == "build":
        shutil.rmtree(closed / ".qatbuild")
    # Root may write whatever the mode says, but not what is immutable.
    close, open_ = ("chattr", "+i"), ("chattr", "-i")
    if os.geteuid():
        close, open_ = ("chmod", "500"), ("chmod", "700")
    if subprocess.run([*close, closed], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no immutable folders, and root may write all others")
    try:
        done = project.doit("net:dataset")
    finally:
        subprocess.run([*open_, closed], check=True)
    assert done.returncode != 0
    assert "cannot be" in done.stdout + done.stderr
    assert "hint:" in done.stdout + done.stderr or "make it writable" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "is a bug" not in done.stdout + done.stderr
