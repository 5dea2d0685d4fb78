"""The deploy stage of a route: deploy.vela calls worker.deploy.vela and checks its gates.

route.json (keys that scripts may rely on): `route`, `label`, `artifact` and its `bytes`, `versions`,
`files` [{`name`, `bytes`, `sha256`}], `comparison` and `comparisons` {`file`, `examples`, `top1_percent`, `max_lsb`,
`accuracy_percent`}, or `comparison` null and `why_not_run`; `reference` {`file`, `bytes`, `sha256`, `runtime`}, the
built model and the runtime to compare with; `figures` of the route, and `notes` on them; `gates` as in report.json,
`warnings`, `verdict`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import AcceptanceError, DatasetError
from qatbuild.exchange.facts import ConvertFacts, DatasetFacts, FreezeFacts
from qatbuild.exchange.files import file_sha256, write_text
from qatbuild.exchange.request import Request
from qatbuild.exchange.route_facts import Comparison, DeployFacts, Reference, RouteFile
from qatbuild.exchange.scaling import Scaling
from qatbuild.worker.deploy import Graphs, Outcome, Samples, Subject, agreement_percent
from qatbuild.worker.tflite import inspect, reference
from qatbuild.worker.tflite.interpret import Model

_MANY = 100
"""The least number of images for a comparison, and the number for routes without the option `images`."""


def run(request: Request) -> DeployFacts:
    """Write a route's artifacts and route.json, which holds the facts.

    AcceptanceError if a gate of the route fails; the artifacts stay.
    """
    route = request.stage.partition(".")[2]
    # Imported by name, so that the code of no other route is in this stage's digest.
    module = importlib.import_module(f"qatbuild.worker.deploy.{route}")
    options = request.settings[route]
    subject = _subject(request, options.get("images", _MANY))
    outcome: Outcome = module.build(subject, options, request.out)
    facts = _facts(request, route, subject, outcome)
    write_text(request.out / "route.json", json.dumps(facts.to_json(), indent=1, sort_keys=True) + "\n")
    failed = [gate.row for gate in outcome.gates if not gate.passed]
    if failed:
        message = f"The route {route} of {request.settings['label']} does not pass its gates; the model itself stands."
        raise AcceptanceError(message, [*failed, ("artifacts", request.folder)])
    return facts


def _subject(request: Request, count: int) -> Subject:
    """Return the model of a request with `count` test images, fewer if the dataset has fewer."""
    converted, dataset = request.inputs["convert"].manifest, request.inputs["dataset"].manifest
    path = dataset.file("dataset.npz")
    with np.load(path) as arrays:
        images, labels = _spread(arrays["test_images"], count), _spread(arrays["test_labels"], count)
    if not len(images):
        raise DatasetError("The dataset has no test images to try a route on.", [("file", path)])
    model = converted.file("model.tflite")
    kernels = reference.kernels_to_compare_with(model)
    outputs = Model(model, request.threads, kernels).run(images)
    return Subject(
        name=request.settings["label"],
        tflite=model,
        scheme=request.settings["quantize"]["scheme"],
        output=ConvertFacts.of(converted.facts).output,
        class_names=DatasetFacts.of(dataset.facts).class_names,
        samples=Samples(images, labels, Scaling.of(request.settings["input"]), outputs, kernels),
        graphs=_graphs(request),
        sources={role: source.path for role, source in request.sources.items()},
        work=request.work,
    )


def _graphs(request: Request) -> Graphs | None:
    if "freeze" not in request.inputs:
        return None
    frozen = request.inputs["freeze"].manifest
    facts = FreezeFacts.of(frozen.facts)
    return Graphs(frozen.file("frozen_graph.pb"), frozen.file("float_graph.pb"), facts.input, facts.output)


def _spread(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """Return `count` rows, evenly spread over the whole test set, which may be sorted by class."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]


def _facts(request: Request, route: str, subject: Subject, outcome: Outcome) -> DeployFacts:
    paths = sorted(path for path in request.out.rglob("*") if path.is_file() and path.name != "benchmark.json")
    sizes = {path: path.stat().st_size for path in paths}
    failed = [gate.name for gate in outcome.gates if not gate.passed]
    comparisons = tuple(_comparison(subject, name, answers) for name, answers in outcome.answers.items())
    return DeployFacts(
        route=route,
        label=request.settings["label"],
        artifact=outcome.artifact,
        bytes=sum(size for path, size in sizes.items() if path.is_relative_to(request.out / outcome.artifact)),
        versions=outcome.versions,
        files=tuple(
            RouteFile(path.relative_to(request.out).as_posix(), size, file_sha256(path)) for path, size in sizes.items()
        ),
        comparison=comparisons[0] if comparisons else None,
        comparisons=comparisons,
        reference=Reference(
            file=subject.tflite.name,
            bytes=subject.tflite.stat().st_size,
            sha256=file_sha256(subject.tflite),
            runtime=f"ai-edge-litert {metadata.version('ai-edge-litert')}, {subject.samples.kernels_in_words}",
        ),
        why_not_run=outcome.why_not_run,
        figures=outcome.figures,
        notes=outcome.notes,
        gates=outcome.gates,
        warnings=(*outcome.warnings, *_few(comparisons), *_other_kernels(subject)),
        verdict=f"REFUSED: {', '.join(failed)}" if failed else "passed",
    )


def _few(comparisons: Sequence[Comparison]) -> list[str]:
    few = [each.examples for each in comparisons[:1] if each.examples < _MANY]
    return [f"The dataset has only {count} test images: an agreement on so few says little." for count in few]


def _other_kernels(subject: Subject) -> list[str]:
    samples = subject.samples
    why = None if samples.kernels == "reference" else reference.refused(inspect.read(subject.tflite))
    return [f"LiteRT's reference kernels {why.why}; compared with the {samples.kernels_in_words}."] if why else []


def _comparison(subject: Subject, name: str, answers: NDArray[Any]) -> Comparison:
    """Compare a file's probabilities [n, classes] with those of LiteRT's kernels."""
    steps = np.abs(answers.astype(np.float64) - subject.probabilities) / subject.output.scale
    return Comparison(
        file=name,
        examples=len(answers),
        top1_percent=agreement_percent(answers, subject.samples.reference),
        max_lsb=round(float(steps.max()), 2),
        accuracy_percent=round(100 * float(np.mean(np.argmax(answers, axis=1) == subject.samples.labels)), 4),
    )
