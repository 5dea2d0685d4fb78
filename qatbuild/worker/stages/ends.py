"""The inputs and tasks of a request: the settings "inputs" and "outputs", matched with the columns of its dataset."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from qatbuild.exchange.dataset_facts import DatasetFacts
from qatbuild.exchange.errors import StageError
from qatbuild.exchange.outputs import read_outputs
from qatbuild.exchange.request import Request
from qatbuild.exchange.scaling import RealInput, Scaling, read_inputs
from qatbuild.worker import tasks
from qatbuild.worker.inputs import Inputs, NetworkInput
from qatbuild.worker.tasks import Task

LABELS = "labels"
"""The column of the targets in datasets whose columns have fixed names."""

_RANK_WITH_COLOURS, _COLOURS = 3, 3


def dataset_facts(request: Request) -> DatasetFacts:
    """The facts of the request's dataset."""
    return DatasetFacts.of(request.inputs["dataset"].manifest.facts)


def inputs_of(request: Request) -> Inputs:
    """The inputs of a request by name; StageError for one without a column of the dataset that it can take."""
    facts, scalings = dataset_facts(request), read_inputs(request.settings["inputs"])
    outputs = read_outputs(request.settings)
    targets = {LABELS, *outputs, *(each.target for each in outputs.values() if each.target)}
    return {name: _input(name, scaling, facts, targets, len(scalings)) for name, scaling in scalings.items()}


def tasks_of(request: Request) -> dict[str, Task]:
    """The tasks of a request by output; StageError for one without the targets that it needs."""
    facts, outputs = dataset_facts(request), read_outputs(request.settings)
    columns = {each.column: each.scaling for each in inputs_of(request).values()}
    return {name: tasks.make(name, output, facts, columns, labelled=facts.labelled) for name, output in outputs.items()}


def _input(
    name: str, scaling: Scaling | RealInput, facts: DatasetFacts, targets: Collection[str], count: int
) -> NetworkInput:
    columns = facts.columns
    others = [each for each in columns if each not in targets and not columns[each].class_names]
    listed = ", ".join(f"{each} ({column.dtype} {list(column.shape)})" for each, column in columns.items())
    if name not in columns and not (count == 1 and len(others) == 1):
        listed_others = ", ".join(others) or "none fits"
        hint = f"Name the input after one of the dataset's arrays ({listed_others}), or save its array as train_{name}."
        raise StageError("An input has no array in the dataset.", [("input", name), ("arrays", listed)], hint)
    column = name if name in columns else others[0]
    values = columns[column]
    if isinstance(scaling, Scaling) and values.dtype != "uint8":
        hint = f'Write "inputs": {{"{name}": {{"real": true}}}}; or store the array as bytes, uint8.'
        rows = [("input", name), ("array", f"{column}: {values.dtype} {list(values.shape)}"), ("wanted", "uint8")]
        raise StageError("An input of bytes takes an array of other values.", rows, hint)
    if isinstance(scaling, Scaling):
        _check_channels(name, scaling, values.shape)
    return NetworkInput(column, values.shape, scaling)


def _check_channels(name: str, scaling: Scaling, shape: tuple[int, ...]) -> None:
    """Raises StageError for lists of means or deviations, or an order of colours, that do not fit the array's shape."""
    count = shape[-1] if shape else 1
    rows: list[tuple[str, object]] = [("input", name), ("shape", list(shape)), ("channels", count)]
    if scaling.channels is not None and len(scaling.channels.means) != count:
        hint = f"Write {count} values, or one number for all channels." if count > 1 else "Write numbers, not lists."
        wanted = ("mean and std_dev", f"{len(scaling.channels.means)} values")
        raise StageError("An input's means or deviations are not one for each channel.", [*rows, wanted], hint)
    if scaling.order == "bgr" and (len(shape) < _RANK_WITH_COLOURS or count != _COLOURS):
        raise StageError("An input without three colours cannot be in the order bgr.", rows, 'Leave "order" out.')


def loss_weights(request: Request) -> Mapping[str, float]:
    """The factor of each output's loss."""
    return {name: output.weight for name, output in read_outputs(request.settings).items()}


def taught(tasks: Mapping[str, Task]) -> set[str]:
    """The columns of classes that the tasks learn."""
    return {column for task in tasks.values() for column in task.taught}
