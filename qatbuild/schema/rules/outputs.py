"""The rules of `outputs`: the fields of each task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from qatbuild.schema.faults import Fault
from qatbuild.schema.nearest import suggest
from qatbuild.schema.rules.inputs import range_faults
from qatbuild.schema.rules.reading import at, inputs_of, objects
from qatbuild.schema.tasks import SPECIAL, TASKS, Task, task_of

_CALL = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*")
_MOST_ANCHORS = 100_000


def violations(document: Any) -> Iterator[Fault]:
    """Yields a fault for each violated rule of the outputs."""
    for name, output in objects(document, "outputs"):
        path = ("outputs", name)
        task = task_of(output.get("task"))
        if task is not None:
            yield from _fields(output, path, task)
            yield from _choices(output, path, task)
            yield from range_faults(output.get("range"), (*path, "range"))
            yield from _anchors(output.get("anchors"), (*path, "anchors"))
            yield from _target(document, output, path)


def _fields(output: dict[str, Any], path: tuple[str, ...], task: Task) -> Iterator[Fault]:
    """Yields a fault for each field that the task lacks, and for each that it needs."""
    for name in SPECIAL:
        having = [other for other, choices in TASKS.items() if name in choices.fields]
        if output.get(name) is not None and name not in task.fields:
            text = f"is only for {', '.join(having)}, not for a {output['task']}: remove this field."
            yield Fault((*path, name), text)
    for name in task.required:
        if output.get(name) in (None, {}):
            yield Fault((*path, name), f"missing. A {output['task']} needs {_EXAMPLES[name]}.")


_EXAMPLES = {
    "anchors": 'its anchors: "anchors": {"feature_maps": [[8, 8]], "scales": [0.3]}',
    "loss": 'your function: "loss": "package.module:function"',
    "metrics": 'your metrics: "metrics": {"NAME": {"call": "package.module:function", "better": "higher"}}',
}


def _choices(output: dict[str, Any], path: tuple[str, ...], task: Task) -> Iterator[Fault]:
    for name, choices in (("loss", task.losses), ("values", task.values)):
        value = output.get(name)
        if choices and isinstance(value, str) and value not in choices:
            text = f"of a {output['task']} must be one of {', '.join(choices)}, got {value}.{suggest(value, choices)}"
            yield Fault((*path, name), text)
    loss = output.get("loss")
    if output["task"] == "call" and isinstance(loss, str) and not _CALL.fullmatch(loss):
        yield Fault((*path, "loss"), f"must be your function: write package.module:function; got {loss[:80]}.")


def _anchors(anchors: Any, path: tuple[str, ...]) -> Iterator[Fault]:
    maps, scales, ratios = (at(anchors, name) for name in ("feature_maps", "scales", "aspect_ratios"))
    if not (isinstance(maps, list) and isinstance(scales, list)):
        return
    if len(maps) != len(scales):
        text = f"must have one value for each feature map; got {len(maps)} feature maps, {len(scales)} scales."
        yield Fault((*path, "scales"), text)
    sizes = [grid for grid in maps if isinstance(grid, list) and all(isinstance(each, int) for each in grid)]
    count = sum(grid[0] * grid[1] for grid in sizes if len(grid) > 1) * (len(ratios) if isinstance(ratios, list) else 3)
    if count > _MOST_ANCHORS:
        yield Fault((*path, "feature_maps"), f"make {count} anchors, more than {_MOST_ANCHORS}: leave out the finest.")


def _target(document: Any, output: dict[str, Any], path: tuple[str, ...]) -> Iterator[Fault]:
    inputs = inputs_of(document)
    target = output.get("target")
    if output["task"] == "reconstruction" and len(inputs) > 1:
        if target is None:
            text = f'missing. Name the input that is reconstructed: "target": "{next(iter(inputs))}".'
            yield Fault((*path, "target"), text)
        elif isinstance(target, str) and target not in inputs:
            text = f"must be one of the inputs, {', '.join(inputs)}; got {target}.{suggest(target, inputs)}"
            yield Fault((*path, "target"), text)
