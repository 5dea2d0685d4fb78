"""The sides of the benchmark, and the command that starts each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.measure import FailedRunError
from tests.benchmarks.training.pipe import Worker

ROOT = Path(__file__).parents[3]

PINS = ("tensorflow-model-optimization==0.8.1", "tf_keras==2.21.0", "tensorflow==2.21.0")
"""The last tfmot, with the TensorFlow that qatbuild has: it runs on it with Keras 2, which is tf_keras."""

OWN = (
    "cifarnet/float32/float",
    "cifarnet/float32/quantized",
    "cifarnet/bfloat16/float",
    "cifarnet/bfloat16/quantized",
    "resnet8/float32/float",
    "resnet8/float32/quantized",
    "resnet8/float32/frozen",
)
TFMOT = ("tfmot/float32/float", "tfmot/float32/quantized")
SIDES = OWN + TFMOT
"""A side is called network/precision/step; tfmot's network is CifarNet, too."""


def start(side: str, threads: int, tfmot: Path | None) -> Worker:
    """The process of a side, ready; `tfmot` is the Python of tfmot's environment."""
    module, python, words = "step", Path(sys.executable), side.split("/")
    if side in TFMOT:
        assert tfmot is not None
        module, python, words = "fit", tfmot, words[2:]
    command = [str(python), "-m", f"tests.benchmarks.training.{module}", *words]
    return Worker(command, {**surroundings(), "QATBUILD_THREADS": str(threads), "TF_USE_LEGACY_KERAS": "1"})


def surroundings() -> dict[str, str]:
    """The environment of a build's stages: without variables that change how numbers are computed."""
    numeric = ("TF_", "XLA_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "QATBUILD_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(numeric)}
    return {**kept, "TF_CPP_MIN_LOG_LEVEL": "2", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def environment(folder: Path) -> Path:
    """The Python of an environment with tfmot, made in `folder` or completed there. FailedRunError with the reason."""
    python = folder / "bin/python"
    if not (folder / "bin/pip").exists():  # The last that comes: a folder that was left half made has none.
        make = [sys.executable, "-m", "venv", str(folder)]
        if subprocess.run(make, capture_output=True, check=False).returncode:
            raise FailedRunError("python -m venv failed: has this Python ensurepip (Debian: python3-venv)?")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1", *PINS]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (errors or ["it failed"])[-1].removeprefix("ERROR: ").replace("|", "/")
        raise FailedRunError(f"pip install: {reason}")
    return python


def versions(abouts: Mapping[str, Worker]) -> dict[str, str]:
    """Package versions of all sides; where two differ, the side's is added by name."""
    by_package: dict[str, str] = {}
    for side, worker in abouts.items():
        for package, version in worker.about["versions"].items():
            if by_package.setdefault(package, version) != version:
                by_package[f"{package} of {side}"] = version
    return by_package
