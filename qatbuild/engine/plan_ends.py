"""The settings and the modules of a spec's inputs and outputs, for the stages that read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qatbuild.schema.model import Input, Output, Variant, plain

_TASKS = "qatbuild.worker.tasks"


def ends_settings(variant: Variant) -> dict[str, Any]:
    """Returns the settings `inputs` and `outputs`, by name, with all defaults.

    Several outputs, and the metrics of a task `call`, are also listed in their order: the first one chooses the best
    checkpoint, and a key would not see the order of an object.
    """
    inputs = {name: _input(value) for name, value in variant.inputs.items()}
    outputs: dict[str, Any] = {name: plain(value) for name, value in variant.outputs.items()}
    for fields in outputs.values():
        if fields["metrics"]:
            fields["metric_order"] = list(fields["metrics"])
    order = {"output_order": list(outputs)} if len(outputs) > 1 else {}
    return {"inputs": inputs, "outputs": outputs, **order}


def _input(value: Input) -> dict[str, Any]:
    """Returns the fields of an input of bytes, or of real values, without those of the other."""
    names = ("real", "range") if value.real else ("mean", "std_dev", "order")
    return {name: each for name, each in plain(value).items() if name in names}


def task_modules(variant: Variant) -> tuple[str, ...]:
    """Returns the modules of this spec's tasks, and of the project's own losses and metrics."""
    outputs = variant.outputs.values()
    calls = [call for each in outputs for call in _calls(each)]
    modules = [f"{_TASKS}.{output.task}" for output in outputs] + [call.partition(":")[0] for call in calls]
    return tuple(sorted({*modules}))


def _calls(output: Output) -> Iterator[str]:
    if output.task == "call":
        if output.loss is not None:
            yield output.loss
        yield from (metric.call for metric in output.metrics.values())
