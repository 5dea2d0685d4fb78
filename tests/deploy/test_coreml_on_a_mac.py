"""predict_on_mac.py with a Core ML that answers what is expected: on a Mac it is the real one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.deploy import Graphs, Subject, coreml_ends
from qatbuild.worker.inputs import NetworkInput
from tests.deploy.subjects import classifier, with_reals

COUNT = 3


def run(subject: Subject, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> tuple[list[Any], str]:
    """Write the script and run it; return what it fed, and what it printed."""
    outputs = {name: f"Net/{name}" for name in subject.gives}
    graphs = Graphs(folder, folder, {name: f"input_{name}" for name in subject.inputs}, outputs)
    subject = type(subject)(**{**vars(subject), "graphs": graphs})
    coreml_ends.write_for_a_mac(subject, folder, as_images=True)
    fed: list[Any] = []

    class Model:
        def __init__(self, _: str) -> None:
            self.row = 0

        def get_spec(self) -> Any:
            ends = [SimpleNamespace(name=name.replace("/", "_")) for name in outputs.values()]
            table = "classLabel_probs" if subject.lone_classes else ""
            return SimpleNamespace(description=SimpleNamespace(output=ends, predictedProbabilitiesName=table))

        def predict(self, values: Any) -> dict[str, Any]:
            fed.append(values)
            answers = {f"Net_{name}": rows[self.row] for name, rows in subject.reference.items()}
            if subject.lone_classes:
                scores = next(iter(answers.values()))
                answers = {"classLabel_probs": dict(zip(subject.lone_classes, scores, strict=True))}
            self.row += 1
            return answers

    stub: Any = ModuleType("coremltools")
    stub.models = SimpleNamespace(MLModel=Model)
    monkeypatch.setitem(sys.modules, "coremltools", stub)
    script = folder / "predict_on_mac.py"
    exec(compile(script.read_text(), str(script), "exec"), {"__file__": str(script)})
    return fed, str(capsys.readouterr().out)


def test_a_classifier_is_compared_by_its_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.arange(COUNT * 48, dtype=np.uint8).reshape(COUNT, 4, 4, 3)
    subject = classifier(tmp_path, images, np.eye(COUNT, 4, dtype=np.uint8), tmp_path)
    bgr = {"images": NetworkInput("images", (4, 4, 3), Scaling(0, 1, "bgr"))}
    fed, printed = run(type(subject)(**{**vars(subject), "inputs": bgr}), tmp_path, monkeypatch, capsys)
    assert printed.count("top-1 as LiteRT for 100.0 %") == 2
    assert np.array_equal(np.asarray(fed[0]["input_images"]), images[0, ..., ::-1])  # Core ML turns RGB into BGR.
    assert (tmp_path / "labels.txt").read_text() == "a\nb\nc\nd\n"


def test_several_outputs_are_compared_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw: Any = {"images": np.zeros((COUNT, 4, 4, 1), np.uint8), "features": np.ones((COUNT, 2), np.float32)}
    reference = {"labels": np.eye(COUNT, 4, dtype=np.int8), "pose": np.ones((COUNT, 2), np.int8)}
    fed, printed = run(with_reals(tmp_path, raw, reference, tmp_path), tmp_path, monkeypatch, capsys)
    assert printed.count("Net/labels differs by up to 0\n") == printed.count("Net/pose differs by up to 0\n") == 2
    assert fed[0]["input_features"].tolist() == [[1.0, 1.0]]
    assert not (tmp_path / "labels.txt").exists()
