"""A toy toolchain: real requests and manifests, and stages that only write down their settings and inputs.

Each artifact is the text of the settings and inputs that made it, so that equal requests make equal bytes; `runs.txt`
in the project counts what ran. `broken.txt` names stages that fail, and how.
"""

from __future__ import annotations

import json
import os
from typing import Any

from qatbuild.exchange.errors import AcceptanceError, StageError
from qatbuild.exchange.files import write_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request

ARTIFACTS = {
    "dataset": ["images.npy"],
    "check": [],
    "float": ["model.ckpt-1.index"],
    "quantize": ["model.ckpt-1.index"],
    "export": ["inference_graph.pb"],
    "freeze": ["frozen_graph.pb", "float_graph.pb"],
    "convert": ["model.tflite"],
    "evaluate": ["report.json"],
}

TOP1 = {"float": 90.0, "fake_quant": 89.5, "tflite": 89.4}


class ToyExecutor:
    """Runs a request by writing down what it says."""

    def stop(self) -> None:
        """Does nothing: a toy stage ends at once."""

    def run(self, request: Request) -> None:
        project = request.project
        request.out.mkdir(parents=True, exist_ok=True)
        with (project / "runs.txt").open("a") as counter:
            counter.write(f"{request.stage}\n")
        failures = project / "broken.txt"
        text = failures.read_text() if failures.exists() else ""
        if f"{request.stage} crash" in text:
            os._exit(137)
        if f"{request.stage} fail" in text:
            raise StageError(f"The toy {request.stage} fails.", [("asked by", "broken.txt")], "remove broken.txt")
        if f"{request.stage} change-source" in text:
            request.sources["data"].path.write_text("changed underway")
        if f"{request.stage} change-input" in text:
            manifest = request.inputs["quantize"].manifest
            manifest.file(*manifest.files).write_text("edited underway")
        for name in ARTIFACTS.get(request.stage, ["route.json"]):
            (request.out / name).write_text(self.text(request))
        if request.stage in {"float", "quantize"}:
            (request.out / "events").mkdir(exist_ok=True)
            (request.out / "events" / "log").write_text(f"{request.stage} events")
        if f"{request.stage} refuse" in text:
            raise AcceptanceError("The toy model is refused.", [("gate", "min_top1")])
        manifest = Manifest.of(request.stage, request.out, {})
        write_text(Manifest.path_of(request.work, request.stage), manifest.to_json())

    def text(self, request: Request) -> str:
        """Returns an artifact's text. Sources are read in lower case, so that a change of case leaves equal output."""
        if request.stage == "evaluate":
            return json.dumps(self.report(request))
        if request.stage.startswith("deploy."):
            return json.dumps(self.route(request))
        content: dict[str, Any] = {"settings": request.settings}
        content["inputs"] = {role: sorted(item.manifest.files.values()) for role, item in request.inputs.items()}
        content["sources"] = {
            role: item.path.read_text(errors="replace").lower()
            for role, item in request.sources.items()
            if item.path.is_file()
        }
        return json.dumps(content, sort_keys=True)

    def report(self, request: Request) -> dict[str, Any]:
        """A report of the contract's shape; the project's report.json has fields to add or to replace."""
        more = request.project / "report.json"
        return {
            "label": request.settings["label"],
            "metrics": {"top1": {**TOP1, "better": "higher", "percent": True}},
            "top1": TOP1,
            "agreement": {"top1_percent": 99.5, "max_lsb": 2, "rmse_lsb": 0.5},
            "bytes": {"frozen_graph": 400, "float_graph": 390, "tflite": 100, "ratio": 4.0},
            "gates": [{"name": "min_top1", "wanted": 80, "got": 89.4, "passed": True}],
            **(json.loads(more.read_text()) if more.exists() else {}),
        }

    def route(self, request: Request) -> dict[str, Any]:
        """A route.json of the contract's shape."""
        name = request.stage.partition(".")[2]
        return {
            "route": name,
            "label": request.settings["label"],
            "artifact": "model.bin",
            "bytes": 1000,
            "versions": {"toy": "1"},
            "files": [{"name": "model.bin", "bytes": 1000, "sha256": ""}],
            "comparison": {"file": "model.bin", "examples": 100, "top1_percent": 99.0, "max_lsb": 2.0},
            "comparisons": [],
            "why_not_run": "",
            "figures": {"options": request.settings[name]},
            "gates": [],
            "notes": ["a note"],
            "warnings": ["The toy route warns."],
            "verdict": "passed",
        }
