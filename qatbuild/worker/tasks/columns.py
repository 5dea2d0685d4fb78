"""The columns of a dataset that a task reads, and the errors of those that it cannot read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.dataset_facts import Column, DatasetFacts
from qatbuild.exchange.errors import DatasetError, StageError
from qatbuild.exchange.outputs import Output

__all__ = ["INTEGERS", "Column", "DatasetFacts"]

INTEGERS = ("uint8", "int32")

_NOTHING = np.zeros(0, np.float32)


def target(name: str, output: Output, dataset: DatasetFacts, inputs: Collection[str]) -> tuple[str, Column]:
    """Returns the column with the targets of the output `name`, and its name.

    It is the output's "target", or else the column of the output's name; or the only one that no input takes.
    StageError if the dataset has no such column.
    """
    wanted = wanted_column(name, output, dataset, inputs)
    if wanted not in dataset.columns:
        raise missing(name, output, wanted, dataset)
    return wanted, dataset.columns[wanted]


def wanted_column(name: str, output: Output, dataset: DatasetFacts, inputs: Collection[str]) -> str:
    """Returns the name of the column with the targets, whether the dataset has it or not."""
    if output.target or name in dataset.columns:
        return output.target or name
    others = [column for column in dataset.columns if column not in inputs]
    if len(others) == 1:
        return others[0]
    return "labels" if "labels" in others and len(dataset.columns) == len(inputs) + 1 else name


def missing(name: str, output: Output, wanted: str, dataset: DatasetFacts, hint: str = "") -> StageError:
    """Returns the error of an output whose target the dataset does not have."""
    facts = [(f"outputs.{name}.task", output.task), ("wanted array", wanted), ("the dataset has", _listed(dataset))]
    hint = hint or (
        f'Name one of these arrays as "target" of outputs.{name}, or add an array of the wanted name to the data.'
    )
    return StageError("The target of an output is missing in the dataset.", facts, hint)


def unfit(name: str, output: Output, column: tuple[str, Column], wanted: str, hint: str = "") -> StageError:
    """Returns the error of a target whose dtype or shape is not what the task reads."""
    text = shown(*column)
    facts = [(f"outputs.{name}.task", output.task), ("wanted", wanted), ("got", text)]
    return StageError("The target of an output is of another kind than its task needs.", facts, hint)


def out_of_range(
    name: str, column: str, values: NDArray[Any], bad: NDArray[np.bool_], wanted: str, *, first: int, hint: str = ""
) -> DatasetError:
    """Returns the error of the first `bad` value of `values` [n, ...]; `first` is the number of their first example."""
    place = tuple(int(each) for each in np.argwhere(bad)[0])
    inside = f" at {list(place[1:])}" if place[1:] else ""
    facts = [
        ("output", name),
        ("array", column),
        ("example", f"{first + place[0]}{inside}"),
        ("value", values[place]),
        ("wanted", wanted),
    ]
    return DatasetError("A target is out of range.", facts, hint)


def check_classes(
    output: str, name: str, values: NDArray[Any], classes: int | None, *, first: int, ignored: int | None = None
) -> None:
    """Raises a DatasetError if there are class numbers beyond 0..classes - 1, other than `ignored`."""
    bad = values < 0 if classes is None else (values < 0) | (values >= classes)
    if ignored is not None:
        bad &= values != ignored
    if bad.any():
        wanted = "0 or more" if classes is None else f"0..{classes - 1}"
        wanted += "" if ignored is None else f", or {ignored} for what is ignored"
        counted = values[values != ignored] if ignored is not None else values
        from_1 = classes is not None and counted.max() == classes and counted.min() > 0
        hint = "Classes are counted from 0: if yours begin with 1, save them minus 1." if from_1 else ""
        raise out_of_range(output, name, values, bad, wanted, first=first, hint=hint)


def check_finite(output: str, names: Collection[str], targets: Mapping[str, NDArray[Any]], *, first: int) -> None:
    """Raises a DatasetError if a value of the columns `names` is infinite or NaN; a column may be missing."""
    for name in names:
        bad = ~np.isfinite(targets.get(name, _NOTHING))
        if bad.any():
            raise out_of_range(output, name, targets[name], bad, "a finite number", first=first)


def shown(name: str, column: Column) -> str:
    """Returns a column as text: labels int32 [n]."""
    return f"{name} {column.dtype} [{', '.join(['n', *map(str, column.shape)])}]"


def _listed(dataset: DatasetFacts) -> str:
    return "; ".join(shown(name, column) for name, column in dataset.columns.items()) or "no arrays"
