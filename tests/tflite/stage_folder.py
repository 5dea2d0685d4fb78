"""A folder in which the stages convert and evaluate run, with what the stages before them leave."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np

from qatbuild.engine import publish as publishing
from qatbuild.exchange.errors import AcceptanceError
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Input, Request
from qatbuild.worker.stages import convert, evaluate
from tests.training.project import write_columns

NAMES = {"inputs": {"images": "input"}, "outputs": {"labels": "Net/Predictions/Softmax"}}
FROZEN_FACTS = {**NAMES, "checkpoint_step": 1, "float_checkpoint_step": 1, "warnings": []}
EXPORT_FACTS = {**NAMES, "float_layers": []}
OUTPUTS = {"labels": {"task": "classification"}}
NAMED = {"labels": tuple("abcd")}
NO_GATES: dict[str, Any] = {
    "max_accuracy_drop": 100.0,
    "min_top1": None,
    "min_agreement": None,
    "gates": {},
    "latency_runs": 3,
}


def publish(manifest, folder):
    """Move a stage's artifacts into place, with an empty record of the request, which these stages do not read."""
    file = folder.parent / "made.json"
    file.write_text(manifest.to_json())
    publishing.publish(manifest, file, folder, (folder / "request.json", ""))


class Build:
    """A folder of stages' artifacts, and the requests to run on it."""

    def __init__(self, folder, network, images):
        self.folder, self.network, self.images = folder, network, images

    def published(self, stage, files, facts):
        """A stage's artifacts, as if it had run."""
        draft = self.folder / f"draft-{stage}"
        draft.mkdir(exist_ok=True)
        for name, data in files.items():
            (draft / name).write_bytes(data)
        publish(Manifest.of(stage, draft, facts), self.folder / stage)

    def freeze(self, **options):
        names = {
            "frozen_graph.pb": self.network(**options),
            "float_graph.pb": self.network(conv=None, dense=None, ranges=(), seed=3),
        }
        self.published("freeze", {name: path.read_bytes() for name, path in names.items()}, FROZEN_FACTS)

    def dataset(self, labels, count=None):
        draft = self.folder / "draft-dataset"
        test = {"images": self.images[:count], "labels": labels[:count].astype(np.int32)}
        facts = write_columns(draft, {"train": {name: each[:0] for name, each in test.items()}, "test": test}, NAMED)
        publish(Manifest.of("dataset", draft, facts.to_json()), self.folder / "dataset")

    def request(self, stage, settings, *inputs):
        inputs_by_role = {name: Input(Manifest.path_of(self.folder / name, name), "") for name in inputs}
        published, work = self.folder / stage, self.folder / f"work-{stage}"
        request = Request(stage, settings, inputs_by_role, {}, {}, "", 2, self.folder, self.folder, published, work)
        request.out.mkdir(parents=True, exist_ok=True)
        return request

    def convert(self, scheme="uint8", mean=121.0):
        """Run the convert stage and publish what it made."""
        self.published("export", {}, EXPORT_FACTS)
        self.inputs = {"images": {"mean": mean, "std_dev": 64.0}}
        settings = {"inputs": self.inputs, "outputs": OUTPUTS, "quantize": {"scheme": scheme}}
        request = self.request("convert", settings, "export", "freeze")
        facts = convert.run(request).to_json()
        publish(Manifest.of("convert", request.out, facts), request.folder)
        return facts

    def evaluate(self, **gates):
        settings = {"label": "tiny@uint8", "inputs": self.inputs, "outputs": OUTPUTS, "evaluate": {**NO_GATES, **gates}}
        request = self.request("evaluate", settings, "dataset", "freeze", "convert")
        error = facts = None
        try:
            facts = evaluate.run(request).to_json()
        except AcceptanceError as refused:
            error = refused
        text, details = ((request.out / name).read_text(encoding="utf-8") for name in ("report.json", "details.json"))
        return SimpleNamespace(
            facts=facts,
            error=error,
            report=json.loads(text),
            text=text,
            details=json.loads(details),
            details_text=details,
            request=request,
        )
