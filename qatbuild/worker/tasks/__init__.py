"""Tasks: what an output of a network is for. Each is a module of its name, with the loss, the metrics and the result.

A new task is one new file here with one public function

    task(name, output, dataset, inputs, *, labelled) -> Task

It is imported only when a spec names it, so that an edit of one does not change the digests of the others.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import TypeVar

from qatbuild.exchange.errors import StageError
from qatbuild.exchange.outputs import Output
from qatbuild.exchange.scaling import InputScaling
from qatbuild.worker.tasks.columns import DatasetFacts
from qatbuild.worker.tasks.protocol import Meter, Metric, Task

__all__ = ["Meter", "Metric", "Task", "make", "named", "names"]

Value = TypeVar("Value")

_PARTS = (
    "anchors", "auc", "average_precision", "boxes", "columns", "ends", "errors", "matching", "own_functions",
    "protocol",
)  # fmt: skip


def make(
    name: str, output: Output, dataset: DatasetFacts, inputs: Mapping[str, InputScaling], *, labelled: bool = True
) -> Task:
    """Makes the task of the output `name`.

    `inputs` are the network's, in their order. Without `labelled` the dataset has no targets: the task reads none, has
    no metrics, and leaves the sizes to the network.

    StageError if the task does not exist, or the dataset has no target for it, or one of another dtype or shape.
    """
    if output.task not in names():
        facts = [(f"outputs.{name}.task", output.task), ("there are", ", ".join(names()))]
        raise StageError("The task does not exist.", facts)
    module = importlib.import_module(f"{__name__}.{output.task}")
    task: Task = module.task(name, output, dataset, inputs, labelled=labelled)
    return task


def named(values: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    """Returns values by output and metric as values by name: METRIC, or OUTPUT.METRIC of several outputs."""
    prefixes = {output: "" if len(values) == 1 else f"{output}." for output in values}
    return {f"{prefixes[output]}{name}": each for output, metrics in values.items() for name, each in metrics.items()}


def names() -> list[str]:
    """Returns the names of all tasks, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _PARTS)
