"""Which classes a .tflite confuses: counts over all examples, and the first examples of its most frequent errors."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.details import Confused, Confusion
from qatbuild.exchange.facts import IntegerTensor
from qatbuild.worker import png
from qatbuild.worker.datasets.examples import Arrays, Examples
from qatbuild.worker.inputs import Inputs
from qatbuild.worker.tasks import Task

_MOST_CLASSES = 200
_ERRORS = 6
_EXAMPLES = 4
_MOST_PX = 40
"""Longest side of a picture: those of all errors take at most 160 kB."""


class Tally:
    """Counts the answers of one classification; of each kind of error it keeps the indices of the first examples."""

    def __init__(self, output: str, target: str, labels: Sequence[str]) -> None:
        """Counts for an output, whose classes are in the column `target`, named by `labels`."""
        self.output, self.target, self.labels = output, target, labels
        self._counts = np.zeros((len(labels), len(labels)), np.int64)
        self._first: dict[tuple[int, int], list[int]] = {}

    def add(self, actual: NDArray[np.int32], answers: NDArray[np.int64], start: int) -> None:
        """Adds examples [n]: their classes, the answers to them, and the index of the first."""
        np.add.at(self._counts, (actual, answers), 1)
        for place in np.flatnonzero(actual != answers):
            examples = self._first.setdefault((int(actual[place]), int(answers[place])), [])
            if len(examples) < _EXAMPLES:
                examples.append(start + int(place))

    def confusion(self) -> Confusion:
        """Returns the counts."""
        return Confusion(self.output, self.labels, self._counts.tolist())

    def confusions(self, examples: Examples, inputs: Inputs) -> list[Confused]:
        """Returns the most frequent errors, with pictures of the first input that is one."""
        errors = sorted(self._first, key=lambda pair: (-self._counts[pair], pair))[:_ERRORS]
        column = next((each.column for each in inputs.values() if png.can_encode(each.dtype, each.shape)), None)
        return [
            Confused(*pair, int(self._counts[pair]), _pictures(examples, self._first[pair], column)) for pair in errors
        ]


def tally(tasks: Mapping[str, Task], outputs: Mapping[str, IntegerTensor], examples: Examples) -> Tally | None:
    """Returns the tally of the first output that is a classification with at most 200 classes; None without one.

    `outputs` are those of the .tflite, [n, classes].
    """
    for name, task in tasks.items():
        columns = [examples.columns[target] for target in task.targets]
        if task.activations.get(name) == "softmax" and columns and not columns[0].shape:
            classes = outputs[name].shape[-1]
            names = columns[0].class_names
            if classes <= _MOST_CLASSES:
                return Tally(name, task.targets[0], names if len(names) == classes else [*map(str, range(classes))])
    return None


def _pictures(examples: Examples, index: Sequence[int], column: str | None) -> list[str]:
    if column is None:
        return []
    rows: Arrays = examples.read(np.array(index, np.int64), [column])
    return [base64.b64encode(png.encoded(png.shrunk(each, _MOST_PX))).decode() for each in rows[column]]
