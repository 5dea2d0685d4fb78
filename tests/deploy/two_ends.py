"""An untrained model with two inputs, one of them real, and two outputs, a class and a pose; its stages to convert."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qatbuild.exchange.dataset_facts import Column, DatasetFacts
from qatbuild.exchange.facts import ExportFacts, FreezeFacts
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Input, Request, Source
from qatbuild.worker.stages import convert

v1 = tf.compat.v1

COUNT = 100
SETTINGS: dict[str, Any] = {
    "label": "two",
    "inputs": {
        "features": {"real": True, "range": None},
        "image": {"mean": 0.0, "std_dev": 255.0, "order": "rgb"},
    },
    "outputs": {"kind": {"task": "classification"}, "pose": {"task": "regression"}},
    "output_order": ["kind", "pose"],
    "quantize": {"scheme": "uint8"},
}
INPUTS = {"features": "input_features", "image": "input_image"}
OUTPUTS = {"kind": "Two/Predictions/Softmax", "pose": "Two/Predictions/pose"}


def graph(*, quantized: bool) -> bytes:
    """The frozen graph: a convolution and a dense layer, concatenated, and two dense heads."""
    random = np.random.default_rng(1)

    def ranged(tensor: Any, low: float, high: float, *, narrow: bool = False) -> Any:
        if not quantized:
            return tf.identity(tensor)
        return tf.quantization.fake_quant_with_min_max_vars(tensor, low, high, narrow_range=narrow)

    def weights(*shape: int) -> Any:
        values = (random.normal(size=shape) * np.sqrt(1 / np.prod(shape[:-1]))).astype(np.float32)
        return ranged(values, values.min(), values.max(), narrow=True)

    def biased(tensor: Any) -> Any:
        return tf.nn.bias_add(tensor, np.linspace(-0.2, 0.2, tensor.shape[-1]).astype(np.float32))

    with tf.Graph().as_default() as made:
        features = v1.placeholder(tf.float32, [None, 5], name=INPUTS["features"])
        image = v1.placeholder(tf.float32, [None, 8, 8, 1], name=INPUTS["image"])
        net = biased(v1.nn.conv2d(ranged(image, 0, 1), weights(3, 3, 1, 4), 4, "SAME", name="Two/conv/Conv2D"))
        net = tf.reshape(ranged(tf.nn.relu(net), 0, 4), [-1, 16])
        flat = biased(tf.matmul(ranged(features, -6, 6), weights(5, 8), name="Two/dense/MatMul"))
        both = tf.concat([net, ranged(tf.nn.relu(flat), 0, 4)], 1)
        kind = ranged(biased(tf.matmul(both, weights(24, 3), name="Two/kind/MatMul")), -3, 3)
        pose = ranged(biased(tf.matmul(both, weights(24, 2), name="Two/pose/MatMul")), -3, 3)
        tf.nn.softmax(kind, name=OUTPUTS["kind"])
        tf.identity(pose, name=OUTPUTS["pose"])
    definition: bytes = made.as_graph_def().SerializeToString()
    return definition


class Build:
    """A folder of stages' artifacts, and the requests to run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arrays = self._dataset()
        graphs = {"frozen_graph.pb": graph(quantized=True), "float_graph.pb": graph(quantized=False)}
        self._published("freeze", graphs, FreezeFacts(1, 1, INPUTS, OUTPUTS, ()).to_json())
        self._published("export", {}, ExportFacts(INPUTS, OUTPUTS, ()).to_json())
        request = self.request("convert", SETTINGS, "export", "freeze")
        self._manifest("convert", request.out, convert.run(request).to_json())

    def request(
        self, stage: str, settings: Mapping[str, Any], *inputs: str, sources: Mapping[str, Path] | None = None
    ) -> Request:
        """A request for a stage that reads these others."""
        paths = {name: Path((self.folder / f"{name}.path").read_text()) for name in inputs}
        by_role = {name: Input(path, "") for name, path in paths.items()}
        files = {role: Source(path, "") for role, path in (sources or {}).items()}
        work = self.folder / "work" / stage
        made = Request(stage, settings, by_role, files, {}, "", 1, self.folder, self.folder, self.folder, work)
        made.out.mkdir(parents=True, exist_ok=True)
        return made

    def _dataset(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng(2)
        arrays: dict[str, np.ndarray] = {
            "image": random.integers(0, 256, (COUNT, 8, 8, 1)).astype(np.uint8),
            "features": random.normal(0, 2, (COUNT, 5)).astype(np.float32),
            "kind": random.integers(0, 3, COUNT).astype(np.int32),
            "pose": random.normal(0, 1, (COUNT, 2)).astype(np.float32),
        }
        names = {"kind": ("bolt", "nut", "pin")}
        columns = {name: Column(str(each.dtype), each.shape[1:], names.get(name, ())) for name, each in arrays.items()}
        folder = self.folder / "dataset"
        (folder / "test").mkdir(parents=True)
        for name, each in arrays.items():
            np.save(folder / "test" / f"{name}.npy", each)
        self._manifest("dataset", folder, DatasetFacts(columns, {"test": COUNT}, {}, ()).to_json())
        return arrays

    def _published(self, stage: str, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> None:
        folder = self.folder / stage
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        self._manifest(stage, folder, facts)

    def _manifest(self, stage: str, folder: Path, facts: Mapping[str, Any]) -> None:
        path = Manifest.path_of(folder, stage)
        write_text(path, Manifest.of(stage, folder, facts).to_json())
        write_text(self.folder / f"{stage}.path", str(path))
