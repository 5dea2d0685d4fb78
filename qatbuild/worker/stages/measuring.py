"""The three forms of a model on the test examples: float graph, fake-quantized graph, .tflite; a batch at a time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.details import Confused, Confusion
from qatbuild.exchange.facts import Agreement, ConvertFacts, Figures, FreezeFacts
from qatbuild.exchange.manifest import Manifest
from qatbuild.worker import console, graph_def, graph_outputs
from qatbuild.worker.datasets.examples import Arrays, Examples
from qatbuild.worker.inputs import Inputs, integer_values, raw_values, real_values
from qatbuild.worker.stages import confusions
from qatbuild.worker.tasks import Meter, Metric, Task, named
from qatbuild.worker.tflite import inspect
from qatbuild.worker.tflite.differences import Differences
from qatbuild.worker.tflite.interpret import Model
from qatbuild.worker.tflite.pairing import IndexedGraph
from qatbuild.worker.training.session import session

FORMS = ("float", "fake_quant", "tflite")
FILES = {"float": "float_graph.pb", "fake_quant": "frozen_graph.pb"}
"""The files of the forms that are graphs."""

AGREEMENT = Metric("agreement", percent=True)
"""The metric of an output without targets: answers that are those of the float network."""

_DECIMALS = 4
_DIGITS = 6
_MOST_EXAMPLES = 250
_BATCH_BYTES = 1 << 28
"""Bytes of all activations of a batch, in float32."""


class Subject(NamedTuple):
    """A built model, and what its inputs and outputs mean."""

    label: str
    frozen: Manifest
    converted: Manifest
    inputs: Inputs
    tasks: Mapping[str, Task]
    threads: int

    @property
    def graphs(self) -> FreezeFacts:
        """The names of the graphs' operations."""
        return FreezeFacts.of(self.frozen.facts)

    @property
    def tflite(self) -> ConvertFacts:
        """The file's inputs and outputs."""
        return ConvertFacts.of(self.converted.facts)

    def model(self, kernels: str, threads: int | None = None) -> Model:
        """Loads the .tflite."""
        facts, path = self.tflite, self.converted.file("model.tflite")
        return Model(path, (facts.inputs, facts.outputs), threads=threads or self.threads, kernels=kernels)

    def indexed(self) -> dict[str, IndexedGraph]:
        """Reads the graphs, by form."""
        return {form: IndexedGraph(graph_def.read(self.frozen.file(file))) for form, file in FILES.items()}

    def feed(self, raw: Mapping[str, NDArray[Any]]) -> Arrays:
        """Returns the real values for the graphs' placeholders, by the name of the tensor."""
        reals = real_values(self.inputs, raw)
        return {f"{operation}:0": reals[name] for name, operation in self.graphs.inputs.items()}


class Measured(NamedTuple):
    """The metrics by name, the agreement by tensor, and sentences about metrics without a figure.

    `constant` are the outputs for which the .tflite gives every example the same answer. `confusion` and `confusions`
    are those of the first classification, None and empty without one.
    """

    metrics: Mapping[str, Figures]
    agreements: Mapping[str, Agreement]
    notes: tuple[str, ...]
    constant: tuple[str, ...]
    confusion: Confusion | None
    confusions: Sequence[Confused]


def measure(subject: Subject, graphs: Mapping[str, tf.Graph], examples: Examples, kernels: str, batch: int) -> Measured:
    """Measures the three forms on all examples, `batch` at a time; `graphs` are the subject's, by form."""
    meters = {form: {name: _meter(task) for name, task in subject.tasks.items()} for form in FORMS}
    differences = {name: Differences(tensor) for name, tensor in subject.tflite.outputs.items()}
    answers: dict[str, set[int]] = {name: set() for name in subject.tasks}
    tally, measured = confusions.tally(subject.tasks, subject.tflite.outputs, examples), 0
    columns = {each.column for each in subject.inputs.values()}
    columns |= {name for task in subject.tasks.values() for name in task.targets}
    with contextlib.ExitStack() as opened:
        forms = _Forms(subject, graphs, opened, kernels)
        total = len(FORMS) * len(examples)
        bar = opened.enter_context(console.bar(total=total, desc=f"{subject.label} evaluate", unit="example"))
        for rows in examples.batches(batch, columns):
            results = forms.results(rows, bar.update)
            for name, task in subject.tasks.items():
                targets = {column: rows[column] for column in task.targets} or _answers_of(task, results["float"])
                for form in FORMS:
                    meters[form][name].add({each: results[form][each] for each in task.sizes}, targets)
                ours, theirs = (task.answers(results[form]) for form in ("tflite", "fake_quant"))
                differences[next(iter(task.sizes))].add_answers(ours, theirs)
                if ours is not None and ours.ndim == 1:
                    answers[name] |= set(np.unique(ours)[:2].tolist())
                if tally is not None and tally.output == name and ours is not None:
                    tally.add(rows[tally.target], ours, measured)
            for tensor, each in differences.items():
                each.add(results["fake_quant"][tensor], forms.integers[tensor])
            measured += len(next(iter(rows.values())))
    notes = [note for name in subject.tasks for note in meters["tflite"][name].notes()]
    return Measured(
        _figures(subject.tasks, meters),
        {tensor: each.agreement() for tensor, each in differences.items()},
        tuple(notes),
        tuple(name for name, seen in answers.items() if len(seen) == 1),
        tally.confusion() if tally else None,
        tally.confusions(examples, subject.inputs) if tally else (),
    )


class _AgreementMeter(Meter):
    """How many answers are those of the float network: the metric of a task without targets."""

    def __init__(self, task: Task) -> None:
        self._task, self._same, self._count = task, 0, 0

    def add(self, results: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]) -> None:
        answers = self._task.answers(results)
        if answers is not None:
            self._same += int(np.count_nonzero(answers == targets[AGREEMENT.name]))
            self._count += answers.size

    def measured(self) -> dict[str, float | str]:
        if not self._count:
            return {AGREEMENT.name: f"{self._task.name} gives real values, and the dataset has no labels."}
        return {AGREEMENT.name: 100 * self._same / self._count}


def _meter(task: Task) -> Meter:
    return task.meter() if task.targets else _AgreementMeter(task)


def _answers_of(task: Task, results: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    answers = task.answers(results)
    return {} if answers is None else {AGREEMENT.name: answers}


def batch_size(model: inspect.Flatbuffer) -> int:
    """Returns how many examples to run together: fewer of a network with large activations."""
    outputs = {index for operator in model.operators for index in operator.outputs} | {*model.inputs}
    values = sum(math.prod(model.tensors[index].shape[1:]) for index in outputs)
    return max(1, min(_MOST_EXAMPLES, _BATCH_BYTES // (4 * max(1, values))))


class _Forms:
    """The forms of a model, opened. `integers` are the outputs of the .tflite for the last batch."""

    def __init__(
        self, subject: Subject, graphs: Mapping[str, tf.Graph], opened: contextlib.ExitStack, kernels: str
    ) -> None:
        self._subject, self._model = subject, subject.model(kernels)
        self._sessions = {form: opened.enter_context(session(each, subject.threads)) for form, each in graphs.items()}
        self.integers: Arrays = {}

    def results(self, rows: Arrays, done: Any) -> dict[str, Arrays]:
        """Returns the real results of each form for some examples; `done` is called with numbers of examples."""
        subject = self._subject
        raw = raw_values(subject.inputs, rows)
        feed, count = subject.feed(raw), len(next(iter(raw.values())))
        results = {}
        for form, opened in self._sessions.items():
            results[form] = graph_outputs.run(opened, subject.graphs.outputs, feed)
            done(count)
        facts = subject.tflite
        self.integers = self._model.run(integer_values(subject.inputs, raw, facts.inputs), done=done)
        reals = {name: facts.outputs[name].real(each.astype(np.float64)) for name, each in self.integers.items()}
        return {**results, "tflite": {name: each.astype(np.float32) for name, each in reals.items()}}


def _figures(tasks: Mapping[str, Task], meters: Mapping[str, Mapping[str, Any]]) -> dict[str, Figures]:
    """Returns the metrics that all three forms have."""
    values = {form: named({name: meter.values() for name, meter in meters[form].items()}) for form in FORMS}
    metrics = named(
        {name: {metric.name: metric for metric in task.metrics or (AGREEMENT,)} for name, task in tasks.items()}
    )
    figures = {}
    for name, metric in metrics.items():
        if all(name in values[form] for form in FORMS):
            rounded = {form: _rounded(values[form][name], percent=metric.percent) for form in FORMS}
            figures[name] = Figures(**rounded, better=metric.better, percent=metric.percent)
    return figures


def _rounded(value: float, *, percent: bool) -> float:
    return round(value, _DECIMALS) if percent else float(f"{value:.{_DIGITS}g}")
