"""Which arrays of the data are targets, and for which task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.look import TargetLook
from qatbuild.worker import datasets
from qatbuild.worker.datasets import LABELS
from qatbuild.worker.datasets.classes import Counted
from qatbuild.worker.datasets.pictures import Pictures
from qatbuild.worker.datasets.rows import Rows
from qatbuild.worker.datasets.source import Source

_BLOCK_ROWS = 1 << 16


def blocks(count: int) -> Iterator[NDArray[np.int64]]:
    """Yields the numbers of all examples, a part at a time."""
    return (np.arange(start, min(start + _BLOCK_ROWS, count)) for start in range(0, count, _BLOCK_ROWS))


def looked_at(dataset: datasets.Dataset, source: Source, wanted: Sequence[str]) -> list[TargetLook]:
    """Returns the targets: the `wanted` arrays, or `labels`, or the lone one that holds classes. DatasetError."""
    columns = dataset.splits["train"]
    if not source.labels:
        return []
    facts = [("data", source.path), ("arrays", ", ".join(columns))]
    if missing := [name for name in wanted if name not in columns]:
        hint = "Name arrays of the file without train_, such as --targets labels."
        raise DatasetError("The data lack a target.", [*facts, ("--targets", ", ".join(missing))], hint)
    of_classes = [name for name in columns if name in dataset.class_names]
    names = wanted or ([LABELS] if LABELS in columns else of_classes)
    if not wanted and len(names) != 1:
        example = ",".join(of_classes or list(columns)[-1:])
        hint = (
            f"Name the array of the classes train_labels, or say which arrays are targets, such as --targets {example};"
            " inputs without targets need --no-labels."
        )
        raise DatasetError("The data have no labels, or several.", facts, hint)
    return [_target(name, columns[name], dataset.class_names.get(name), wanted, source) for name in names]


def _target(
    name: str, rows: Rows | Pictures, classes: Sequence[str] | None, wanted: Sequence[str], source: Source
) -> TargetLook:
    array = f"train_{name}"
    if isinstance(rows, Pictures) or len(rows.shape) > 1:
        hint = "See docs/tasks.md for targets of several dimensions: their specs are written by hand."
        raise DatasetError("The target has several dimensions.", _facts(source, array, rows), hint)
    if classes is None and name in wanted:
        return TargetLook(name, "regression", math.prod(rows.shape), {})
    if classes is None:
        hint = (
            "Save classes as whole numbers 0, 1, 2, ... (of one-hot rows argmax(axis=1)); values of a regression are"
            f" --targets {name}."
        )
        raise _no_task(source, array, rows, hint)
    counted, is_binary, is_one_hot = Counted(len(classes), rows.shape), True, True
    for index in blocks(len(rows)):
        block = rows.read(index)
        counted.add(block)
        is_binary &= bool((block <= 1).all())
        is_one_hot &= bool(rows.shape) and bool((block.sum(axis=1) == 1).all())
    if rows.shape and not is_binary:
        hint = f"Save {array}[:, 0] if a row is one class; rows of several labels hold a 0 or 1 for each."
        raise _no_task(source, array, rows, hint)
    if is_one_hot and len(classes) > 1:
        hint = f"Each row has one 1: save classes, {array}.argmax(axis=1)."
        raise _no_task(source, array, rows, hint)
    task = "multilabel" if rows.shape else "classification"
    return TargetLook(name, task, len(classes), dict(zip(classes, counted.counts(), strict=True)))


def _no_task(source: Source, array: str, rows: Rows | Pictures, hint: str) -> DatasetError:
    return DatasetError("The labels are no classes.", _facts(source, array, rows), hint)


def _facts(source: Source, array: str, rows: Rows | Pictures) -> list[tuple[str, object]]:
    kind = "pictures" if isinstance(rows, Pictures) else rows.dtype
    shape = ", ".join(map(str, ("n", *rows.shape)))
    return [("data", source.path), ("array", array), ("found", f"{kind} [{shape}]")]
