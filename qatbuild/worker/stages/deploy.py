"""The deploy stage of a route: deploy.vela calls worker.deploy.vela and checks its gates.

route.json (keys that scripts may rely on): `route`, `label`, `artifact` and its `bytes`, `versions`,
`files` [{`name`, `bytes`, `sha256`}], `comparison` and `comparisons` {`file`, `examples`, `top1_percent` (null for real
values), `max_lsb`, `rmse_lsb`, `accuracy_percent` (of a model that only classifies), `metrics`, and by output `outputs`
{`same_percent`, `near_percent`, `max_lsb`, `rmse_lsb`}}, or `comparison` null and `why_not_run`; `reference` {`file`,
`bytes`, `sha256`, `runtime`}, the built model and the runtime to compare with; `figures` of the route, and `notes` on
them; `gates` as in report.json, `warnings`, `verdict`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import AcceptanceError, DatasetError
from qatbuild.exchange.facts import ConvertFacts, FreezeFacts
from qatbuild.exchange.files import file_sha256, write_text
from qatbuild.exchange.outputs import read_outputs
from qatbuild.exchange.request import Request
from qatbuild.exchange.route_facts import Comparison, DeployFacts, Reference, RouteFile
from qatbuild.worker.datasets.examples import Arrays, opened
from qatbuild.worker.deploy import Graphs, Outcome, Samples, Subject, agreement
from qatbuild.worker.inputs import Inputs, integer_values, raw_values
from qatbuild.worker.stages import ends
from qatbuild.worker.tasks import Task, named
from qatbuild.worker.tflite import inspect, reference
from qatbuild.worker.tflite.interpret import Model

_MANY = 100
"""The least number of examples for a comparison, and the number for routes without the option `images`."""

_DECIMALS, _DIGITS = 4, 6
_CLASSIFICATION = "classification"


def run(request: Request) -> DeployFacts:
    """Writes a route's artifacts and route.json, which holds the facts.

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
    """Returns the model of a request with `count` test examples, fewer if the dataset has fewer."""
    inputs, tasks = ends.inputs_of(request), ends.tasks_of(request)
    rows = _rows(request, inputs, tasks, count)
    facts, model = ConvertFacts.of(request.inputs["convert"].manifest.facts), _tflite(request)
    raw = raw_values(inputs, rows)
    integers = integer_values(inputs, raw, facts.inputs)
    kernels = reference.kernels_to_compare_with(model)
    names = (list(facts.inputs), list(facts.outputs))
    outputs = Model(model, names, threads=request.threads, kernels=kernels).run(integers)
    targets = {name: rows[name] for task in tasks.values() for name in task.targets}
    return Subject(
        name=request.settings["label"],
        tflite=model,
        scheme=request.settings["quantize"]["scheme"],
        inputs=inputs,
        tasks=tasks,
        takes=facts.inputs,
        gives=facts.outputs,
        class_names=_class_names(request, tasks),
        samples=Samples(raw, integers, targets, outputs, kernels),
        graphs=_graphs(request),
        sources={role: source.path for role, source in request.sources.items()},
        work=request.work,
    )


def _tflite(request: Request) -> Path:
    return request.inputs["convert"].manifest.file("model.tflite")


def _rows(request: Request, inputs: Inputs, tasks: Mapping[str, Task], count: int) -> Arrays:
    """Returns test examples spread over the whole test set, which may be sorted by class."""
    folder = request.inputs["dataset"].manifest.folder
    examples = opened(folder, "test", ends.dataset_facts(request))
    if not len(examples):
        raise DatasetError("The dataset has no test examples to try a route on.", [("folder", folder)])
    columns = {each.column for each in inputs.values()} | {name for task in tasks.values() for name in task.targets}
    return examples.read(examples.spread(count), columns)


def _class_names(request: Request, tasks: Mapping[str, Task]) -> dict[str, tuple[str, ...]]:
    columns, outputs = ends.dataset_facts(request).columns, read_outputs(request.settings)
    return {
        name: columns[target].class_names
        for name, task in tasks.items()
        if outputs[name].task == _CLASSIFICATION
        for target in task.targets
    }


def _graphs(request: Request) -> Graphs | None:
    if "freeze" not in request.inputs:
        return None
    frozen = request.inputs["freeze"].manifest
    facts = FreezeFacts.of(frozen.facts)
    return Graphs(frozen.file("frozen_graph.pb"), frozen.file("float_graph.pb"), facts.inputs, facts.outputs)


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
        warnings=(*outcome.warnings, *_few(subject, comparisons), *_other_kernels(subject)),
        verdict=f"REFUSED: {', '.join(failed)}" if failed else "passed",
    )


def _few(subject: Subject, comparisons: Sequence[Comparison]) -> list[str]:
    few = [each.examples for each in comparisons[:1] if each.examples < _MANY]
    what = subject.examples
    return [f"The dataset has only {count} test {what}: an agreement on so few says little." for count in few]


def _other_kernels(subject: Subject) -> list[str]:
    samples = subject.samples
    why = None if samples.kernels == "reference" else reference.refused(inspect.read(subject.tflite))
    return [f"LiteRT's reference kernels {why.why}; compared with the {samples.kernels_in_words}."] if why else []


def _comparison(subject: Subject, name: str, answers: Mapping[str, NDArray[Any]]) -> Comparison:
    """Compares a file's real outputs, by the network's tensors, with those of LiteRT's kernels."""
    outputs = agreement.compared(subject, answers, subject.reference)
    return Comparison.of(name, subject.samples.number, outputs, _metrics(subject, answers))


def _metrics(subject: Subject, answers: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    meters = {name: task.meter() for name, task in subject.tasks.items()}
    for name, task in subject.tasks.items():
        results = {tensor: answers[tensor].astype(np.float32) for tensor in task.sizes}
        meters[name].add(results, {column: subject.samples.targets[column] for column in task.targets})
    percents = named({name: {each.name: each.percent for each in task.metrics} for name, task in subject.tasks.items()})
    values = named({name: meter.values() for name, meter in meters.items()})
    return {name: _rounded(value, percent=percents[name]) for name, value in values.items()}


def _rounded(value: float, *, percent: bool) -> float:
    return round(value, _DECIMALS) if percent else float(f"{value:.{_DIGITS}g}")
