"""A look at data: what a spec can say about them, from a sample that is the same in every look."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.look import DataLook, DataQuestion, NetworkLook, TargetLook
from qatbuild.worker import datasets
from qatbuild.worker.datasets import LABELS
from qatbuild.worker.datasets.pictures import Pictures
from qatbuild.worker.datasets.rows import Rows
from qatbuild.worker.datasets.source import Feature, Source
from qatbuild.worker.look import keras_config, kinds, remarks
from qatbuild.worker.look.folders import PictureLook, look_at_pictures
from qatbuild.worker.look.sample import Sample, every
from qatbuild.worker.look.targets import blocks, looked_at

_TEST = 0.2
"""Part that is held out for the test where the data have none."""

_MOST_SAMPLED = 2_000
_RECORDS = "tfrecord"
_OF_TEXTS = ("no numbers", "Python objects")
_TEXTS_HINT = (
    "Save their numbers: class_names, numbers = numpy.unique(labels.astype(str), return_inverse=True); then"
    " train_labels=numbers and class_names=class_names."
)


class _Columns(NamedTuple):
    """The samples of the inputs by name, the targets, and the number of examples by split."""

    samples: Mapping[str, Sample]
    targets: Sequence[TargetLook]
    counts: Mapping[str, int]


def answer(question: DataQuestion) -> DataLook:
    """Looks at the data of a question; DatasetError if no spec could use them, with what to do."""
    place = kinds.place(Path(question.path))
    network = keras_config.look(Path(question.network)) if question.network else NetworkLook()
    if place.kind == "images":
        if question.targets:
            facts = [("data", place.path), ("--targets", ", ".join(question.targets))]
            raise DatasetError("Pictures in files have one target, their classes.", facts, "leave --targets out")
        return _of_pictures(look_at_pictures(place, _sized(question, network)), network)
    if question.size and place.kind != _RECORDS:
        facts = [("data", place.path), ("kind", place.kind)]
        raise DatasetError("Only files of pictures get another size.", facts, "leave --size out")
    size = _size(_sized(question, network)) if place.kind == _RECORDS else None
    source = Source(place.kind, place.path, labels=question.labels, size=size)
    with tempfile.TemporaryDirectory() as folder:
        if place.kind == _RECORDS:  # Their reader imports TensorFlow.
            records = importlib.import_module("qatbuild.worker.look.records")
            source = source._replace(features=records.features(source, Path(folder)))
        return _of_arrays(_loaded(source, Path(folder), question), source, question, network)


def _sized(question: DataQuestion, network: NetworkLook) -> DataQuestion:
    """Returns the question with the size that the network takes, if it asks for none."""
    sizes = network.shape[:-1]
    if question.size or len(sizes) != 2 or None in sizes:  # noqa: PLR2004
        return question
    return question._replace(size=[size for size in sizes if size])


def _size(question: DataQuestion) -> tuple[int, int] | None:
    return (question.size[0], question.size[1]) if question.size else None


def _loaded(source: Source, downloads: Path, question: DataQuestion) -> datasets.Dataset:
    """Loads data that are no files of pictures; encoded pictures of several sizes get one."""
    try:
        return datasets.load(source, downloads)
    except DatasetError as error:
        if any(reason in error.message for reason in _OF_TEXTS) and str(dict(error.facts)["array"]).endswith(LABELS):
            raise DatasetError("The labels are texts.", error.facts, _TEXTS_HINT) from error
        if source.name != _RECORDS or source.size is not None or "differ in size" not in error.message:
            raise
    return datasets.load(source._replace(size=(question.most_px, question.most_px)), downloads)


def _of_pictures(look: PictureLook, network: NetworkLook) -> DataLook:
    counts = {split: len(files) for split, files in look.splits.items()}
    targets = []
    if look.classes:
        train = look.splits["train"]
        labels = np.concatenate([train.classes(index) for index in blocks(len(train))])
        numbers = np.bincount(labels, minlength=len(look.classes)).tolist()
        class_counts = dict(zip(look.classes, numbers, strict=True))
        targets = [TargetLook(LABELS, "classification", len(look.classes), class_counts)]
    return _look(_Columns({"images": look.sample}, targets, counts), look.source, look.remarks, network)


def _of_arrays(dataset: datasets.Dataset, source: Source, question: DataQuestion, network: NetworkLook) -> DataLook:
    columns = dataset.splits["train"]
    targets = looked_at(dataset, source, question.targets)
    inputs = {name: rows for name, rows in columns.items() if name not in {each.name for each in targets}}
    if not inputs:
        facts = [("data", source.path), ("arrays", ", ".join(columns))]
        hint = "Save the array that the network is to read beside the targets, such as train_images."
        raise DatasetError("The data have no input.", facts, hint)
    samples = {name: _sample(name, rows, source) for name, rows in inputs.items()}
    for rows in inputs.values():
        if isinstance(rows, Pictures) and source.size is None and source.name == _RECORDS:
            source = source._replace(size=(rows.shape[0], rows.shape[1]))
    counts = {split: dataset.count(split) for split in dataset.splits}
    return _look(_Columns(samples, targets, counts), source, dataset.notes, network)


def _sample(name: str, rows: Rows | Pictures, source: Source) -> Sample:
    sample = Sample(rows.shape)
    index = every(len(rows), _MOST_SAMPLED)
    if isinstance(rows, Pictures):
        sample.add_pictures(rows, index)
        return sample
    if rows.dtype == np.int32:
        facts = [("data", source.path), ("array", f"train_{name}"), ("found", "whole numbers that are not bytes")]
        hint = (
            "Save bytes (astype uint8, if they are 0..255) or real numbers (astype float32); name it with --targets"
            " if it is not to be read, but found."
        )
        raise DatasetError("The input's numbers are neither bytes nor real.", facts, hint)
    sample.add(rows.read(index))
    return sample


def _look(columns: _Columns, source: Source, notes: Sequence[str], network: NetworkLook) -> DataLook:
    samples, targets, counts = columns
    inputs = tuple(sample.look(name) for name, sample in samples.items())
    remarks.check(source, inputs, targets)
    if "test" not in counts:
        source = source._replace(test=_TEST)
    look = DataLook(
        path=str(source.path),
        table=source.table or "",
        dataset=_fields(source),
        inputs=inputs,
        targets=tuple(targets),
        counts=counts,
        sampled=min(sample.examples for sample in samples.values()),
        network=network,
    )
    return look._replace(remarks=(*notes, *remarks.written(look)))


def _fields(source: Source) -> dict[str, Any]:
    """Returns the fields of the spec's `dataset` that are not what they are by default, without paths."""
    fields = {name: value for name, value in source._asdict().items() if value != Source._field_defaults.get(name)}
    if source.features:
        fields["features"] = {name: _feature(each) for name, each in source.features.items()}
    fields = {name: value for name, value in fields.items() if name not in ("path", "table")}
    return {name: [*value] if isinstance(value, tuple) else value for name, value in fields.items()}


def _feature(feature: Feature) -> dict[str, Any]:
    shape = {} if feature.shape is None else {"shape": [*feature.shape]}
    return {"feature": feature.feature, "kind": feature.kind, **shape}
