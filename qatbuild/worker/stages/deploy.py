"""The deploy stage, once for each route: deploy.vela translates for worker.deploy.vela, and judges the result.

route.json (keys that scripts may rely on): `route`, `label`, `artifact` and its `bytes`, `versions`,
`files` [{`name`, `bytes`, `sha256`}], `comparison` and `comparisons` {`file`, `examples`, `top1_percent`, `max_lsb`,
`accuracy_percent`}, or `comparison` null and `why_not_run`; `reference` {`file`, `bytes`, `sha256`, `runtime`} is the
model that was compared or compiled, and what ran it; `figures` of the route's own, and `notes` on them; `gates` as in
report.json, `warnings`, `verdict`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import AcceptanceError, DatasetError
from qatbuild.exchange.files import file_sha256, write_text
from qatbuild.exchange.request import Request
from qatbuild.worker.deploy import Outcome, Subject, agreement_percent
from qatbuild.worker.tflite.interpret import Model

_MANY = 100
"""Images that are enough to compare on; those of a route that compares nothing."""


def run(request: Request) -> dict[str, Any]:
    """Take one route; write its artifacts and route.json, which is also the facts.

    Raises AcceptanceError if one of the route's gates fails; what was made is left to look at.
    """
    route = request.stage.partition(".")[2]
    # Named here and imported there: only the one route's code is in this request's digest, and only it can matter.
    module = importlib.import_module(f"qatbuild.worker.deploy.{route}")
    options = request.settings[route]
    subject = _subject(request, options.get("images", _MANY))
    outcome: Outcome = module.build(subject, options, request.out)
    facts = _facts(request, route, subject, outcome)
    write_text(request.out / "route.json", json.dumps(facts, indent=1, sort_keys=True) + "\n")
    failed = [each for each in outcome.gates if not each["passed"]]
    if failed:
        rows = [(each["name"], f"wanted {each['wanted']}\ngot {each['got']}") for each in failed]
        message = f"The route {route} of {request.settings['label']} does not pass its gates; the model itself stands."
        raise AcceptanceError(message, [*rows, ("artifacts", request.folder)])
    return facts


def _subject(request: Request, count: int) -> Subject:
    converted, dataset = request.inputs["convert"].manifest, request.inputs["dataset"].manifest
    frozen = request.inputs["freeze"].manifest if "freeze" in request.inputs else None
    path = dataset.file("dataset.npz")
    with np.load(path) as arrays:
        images, truth = _spread(arrays["test_images"], count), _spread(arrays["test_labels"], count)
    if not len(images):
        raise DatasetError("The dataset has no test images to try a route on.", [("file", path)])
    model = converted.file("model.tflite")
    output = converted.facts["output"]
    return Subject(
        name=request.settings["label"],
        tflite=model,
        frozen_graph=frozen.file("frozen_graph.pb") if frozen else None,
        float_graph=frozen.file("float_graph.pb") if frozen else None,
        graph_input=str(frozen.facts["input"]) if frozen else "",
        graph_output=str(frozen.facts["output"]) if frozen else "",
        mean=request.settings["input"]["mean"],
        std_dev=request.settings["input"]["std_dev"],
        scheme=request.settings["quantize"]["scheme"],
        class_names=tuple(dataset.facts["class_names"]),
        images=images,
        truth=truth,
        reference=Model(model, request.threads, "reference").run(images),
        scale=output["scale"],
        zero_point=output["zero_point"],
        sources={role: source.path for role, source in request.sources.items()},
        work=request.work,
    )


def _spread(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """`count` rows, taken evenly from the whole test set: a folder a class would give those of one class only."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]


def _facts(request: Request, route: str, subject: Subject, outcome: Outcome) -> dict[str, Any]:
    paths = sorted(path for path in request.out.rglob("*") if path.is_file() and path.name != "benchmark.json")
    failed = [each["name"] for each in outcome.gates if not each["passed"]]
    comparisons = [_comparison(subject, name, answers) for name, answers in outcome.answers.items()]
    return {
        "route": route,
        "label": request.settings["label"],
        "artifact": outcome.artifact,
        "bytes": sum(path.stat().st_size for path in paths if path.is_relative_to(request.out / outcome.artifact)),
        "versions": dict(outcome.versions),
        "files": [
            {
                "name": path.relative_to(request.out).as_posix(),
                "bytes": path.stat().st_size,
                "sha256": file_sha256(path),
            }
            for path in paths
        ],
        "comparison": comparisons[0] if comparisons else None,
        "comparisons": comparisons,
        "reference": {
            "file": subject.tflite.name,
            "bytes": subject.tflite.stat().st_size,
            "sha256": file_sha256(subject.tflite),
            "runtime": f"ai-edge-litert {metadata.version('ai-edge-litert')}, reference kernels",
        },
        "why_not_run": outcome.why_not_run,
        "figures": dict(outcome.figures),
        "notes": list(outcome.notes),
        "gates": list(outcome.gates),
        "warnings": [*outcome.warnings, *_few(comparisons)],
        "verdict": f"REFUSED: {', '.join(failed)}" if failed else "passed",
    }


def _few(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    few = [each["examples"] for each in comparisons[:1] if each["examples"] < _MANY]
    return [f"The dataset has only {count} test images: an agreement on so few says little." for count in few]


def _comparison(subject: Subject, name: str, answers: NDArray[Any]) -> Mapping[str, Any]:
    """A file's probabilities against those of LiteRT's reference kernels, in steps of the .tflite's output."""
    steps = np.abs(answers.astype(np.float64) - subject.probabilities) / subject.scale
    return {
        "file": name,
        "examples": len(answers),
        "top1_percent": agreement_percent(answers, subject.reference),
        "max_lsb": round(float(steps.max()), 2),
        "accuracy_percent": round(100 * float(np.mean(np.argmax(answers, axis=1) == subject.truth)), 4),
    }
