"""A look at data: what a spec can say about them, from a sample that is the same in every look."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.look import DataLook, DataQuestion, NetworkLook
from qatbuild.worker import datasets
from qatbuild.worker.datasets import LABELS
from qatbuild.worker.datasets.classes import Counted
from qatbuild.worker.datasets.pictures import Pictures
from qatbuild.worker.datasets.rows import Rows
from qatbuild.worker.datasets.source import Source
from qatbuild.worker.look import keras_config, kinds, remarks
from qatbuild.worker.look.folders import PictureLook, look_at_pictures
from qatbuild.worker.look.sample import Sample, every

_TEST = 0.2
"""Part that is held out for the test where the data have none."""

_MOST_SAMPLED = 2_000
_BLOCK_ROWS = 1 << 16
_MULTILABEL_RANK = 1
_RECORDS = "tfrecord"


class _Target(NamedTuple):
    """The column of targets: its name, its task, and the training examples of each class."""

    name: str
    task: str
    class_counts: Mapping[str, int]


class _Columns(NamedTuple):
    """The name of the input, the target, and the number of examples by split."""

    input: str
    target: _Target
    counts: Mapping[str, int]


def answer(question: DataQuestion) -> DataLook:
    """Look at the data of a question; DatasetError if no spec could use them, with what to do."""
    place = kinds.place(Path(question.path))
    network = keras_config.look(Path(question.network)) if question.network else NetworkLook()
    if place.kind == "images":
        return _of_pictures(look_at_pictures(place, _sized(question, network)), network)
    if question.size and place.kind != _RECORDS:
        facts = [("data", place.path), ("kind", place.kind)]
        raise DatasetError("Only files of pictures get another size.", facts, "leave --size out")
    size = _size(_sized(question, network)) if place.kind == _RECORDS else None
    source = Source(place.kind, place.path, labels=question.labels, size=size)
    with tempfile.TemporaryDirectory() as folder:
        return _of_arrays(_loaded(source, Path(folder), question), source, network)


def _sized(question: DataQuestion, network: NetworkLook) -> DataQuestion:
    """Return the question with the size that the network takes, if it asks for none."""
    sizes = network.shape[:-1]
    if question.size or len(sizes) != 2 or None in sizes:  # noqa: PLR2004
        return question
    return question._replace(size=[size for size in sizes if size])


def _size(question: DataQuestion) -> tuple[int, int] | None:
    return (question.size[0], question.size[1]) if question.size else None


def _loaded(source: Source, downloads: Path, question: DataQuestion) -> datasets.Dataset:
    """Load data that are no files of pictures; encoded pictures of several sizes get one."""
    try:
        return datasets.load(source, downloads)
    except DatasetError as error:
        if source.name != _RECORDS or source.size is not None or "differ in size" not in error.message:
            raise
    return datasets.load(source._replace(size=(question.most_px, question.most_px)), downloads)


def _of_pictures(look: PictureLook, network: NetworkLook) -> DataLook:
    counts = {split: len(files) for split, files in look.splits.items()}
    target = _Target("", "", {})
    if look.classes:
        train = look.splits["train"]
        labels = np.concatenate([train.classes(index) for index in _blocks(len(train))])
        numbers = np.bincount(labels, minlength=len(look.classes)).tolist()
        target = _Target(LABELS, "classification", dict(zip(look.classes, numbers, strict=True)))
    return _look(_Columns("images", target, counts), look.source, look.sample, look.remarks, network)


def _of_arrays(dataset: datasets.Dataset, source: Source, network: NetworkLook) -> DataLook:
    columns = dataset.splits["train"]
    target = _target(dataset, source)
    names = [name for name in columns if name != target.name]
    if len(names) != 1:
        facts = [("data", source.path), ("inputs", ", ".join(names) or "nothing besides the labels")]
        hint = "Save one array beside the labels; a spec with several inputs is written by hand: see docs/spec.md."
        raise DatasetError("The data have several inputs, or lack one.", facts, hint)
    (name,) = names
    rows = columns[name]
    index = every(len(rows), _MOST_SAMPLED)
    sample = Sample(rows.shape)
    if isinstance(rows, Pictures):
        sample.add_pictures(rows, index)
    else:
        if rows.dtype == np.int32:
            facts = [("data", source.path), ("array", f"train_{name}"), ("found", "whole numbers that are not bytes")]
            hint = "Save bytes (astype uint8, if they are 0..255) or real numbers (astype float32)."
            raise DatasetError("The input's numbers are neither bytes nor real.", facts, hint)
        sample.add(rows.read(index))
    if isinstance(rows, Pictures) and source.size is None and source.name == _RECORDS:
        source = source._replace(size=(rows.shape[0], rows.shape[1]))
    counts = {split: dataset.count(split) for split in dataset.splits}
    return _look(_Columns(name, target, counts), source, sample, dataset.notes, network)


def _target(dataset: datasets.Dataset, source: Source) -> _Target:
    """Return the column of targets: `labels`, or the lone one that holds classes."""
    columns = dataset.splits["train"]
    if not source.labels:
        return _Target("", "", {})
    candidates = [LABELS] if LABELS in columns else [name for name in columns if name in dataset.class_names]
    if len(candidates) != 1:
        facts = [("data", source.path), ("arrays", ", ".join(columns))]
        hint = "Name the array of the classes train_labels; inputs without targets need --no-labels."
        raise DatasetError("The data have no labels, or several.", facts, hint)
    (name,) = candidates
    rows = columns[name]
    classes = dataset.class_names.get(name)
    if isinstance(rows, Pictures) or classes is None or len(rows.shape) > _MULTILABEL_RANK:
        facts = [("data", source.path), ("array", f"train_{name}"), ("found", f"{_type(rows)} [n, ...]")]
        hint = "Save classes as whole numbers 0, 1, 2, ... (of one-hot rows argmax(axis=1)); or see docs/tasks.md."
        raise DatasetError("The labels are no classes.", facts, hint)
    counted = Counted(len(classes), rows.shape)
    for index in _blocks(len(rows)):
        counted.add(rows.read(index))
    task = "multilabel" if rows.shape else "classification"
    return _Target(name, task, dict(zip(classes, counted.counts(), strict=True)))


def _type(rows: Rows | Pictures) -> str:
    return "pictures" if isinstance(rows, Pictures) else str(rows.dtype)


def _look(columns: _Columns, source: Source, sample: Sample, notes: tuple[str, ...], network: NetworkLook) -> DataLook:
    name, target, counts = columns
    remarks.check(source, target.task, target.class_counts)
    remarks.check_values(source, sample)
    if "test" not in counts:
        source = source._replace(test=_TEST)
    look = DataLook(
        path=str(source.path),
        table=source.table or "",
        dataset=_fields(source),
        input=name,
        target=target.name,
        task=target.task,
        dtype=sample.dtype,
        shape=sample.shape,
        counts=counts,
        class_counts=target.class_counts,
        mean=sample.mean,
        std=sample.std,
        least=sample.least,
        greatest=sample.greatest,
        sampled=sample.examples,
        network=network,
    )
    return look._replace(remarks=(*notes, *remarks.written(look)))


def _fields(source: Source) -> dict[str, Any]:
    """Return the fields of the spec's `dataset` that are not what they are by default, without paths."""
    fields = {name: value for name, value in source._asdict().items() if value != Source._field_defaults.get(name)}
    fields = {name: value for name, value in fields.items() if name not in ("path", "table")}
    return {name: [*value] if isinstance(value, tuple) else value for name, value in fields.items()}


def _blocks(count: int) -> list[NDArray[np.int64]]:
    return [np.arange(start, min(start + _BLOCK_ROWS, count)) for start in range(0, count, _BLOCK_ROWS)]
