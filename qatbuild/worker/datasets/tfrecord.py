"""TFRecord files of tf.train.Example: the spec names the features, or they are those of TF-Slim or of TFDS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import console
from qatbuild.worker.datasets import LABELS, Dataset
from qatbuild.worker.datasets.misfit import MisfitError
from qatbuild.worker.datasets.picture_look import Look, decoding
from qatbuild.worker.datasets.pictures import PictureError, Pictures, header
from qatbuild.worker.datasets.rows import Rows
from qatbuild.worker.datasets.source import Feature, Source
from qatbuild.worker.datasets.store import damaged
from qatbuild.worker.datasets.tfrecord_features import Numbers, described, fault, parsed, single
from qatbuild.worker.datasets.tfrecord_records import Records
from qatbuild.worker.datasets.tfrecord_shards import shards

SLIM = {"images": Feature("image/encoded", "picture"), "labels": Feature("image/class/label", "int", ())}
TFDS = {"images": Feature("image", "picture"), "labels": Feature("label", "int", ())}

_PICTURE = "picture"


def load(source: Source, downloads: Path) -> Dataset:
    """Loads the arrays that `source.features` names from the records of each split.

    Pictures (JPEG, PNG, ... as encoded bytes) are as in the dataset images; ints become int32, floats float32, bytes
    uint8. A count that varies (-1 in the shape, or no shape) is padded to the largest: ints with -1, floats with 0.
    Without features they are TF-Slim's (image/encoded, image/class/label) or TFDS's (image, label). Class names are
    those of a file labels.txt (Slim: "0:daisy") or FEATURE.labels.txt (TFDS) beside the records. All records are read
    through once, with their checksums, and then again one by one.

    Raises DatasetError with the file and the record.
    """
    if source.path is None:
        raise DatasetError(
            "The dataset tfrecord needs a folder.",
            [("dataset.path", "missing"), ("dataset.url", source.url or "missing")],
            'Give "path": the folder with the files, or one file.',
        )
    splits = {split: _Split(Records(files, downloads)) for split, files in shards(source, source.path).items()}
    looks: dict[str, Look] = {}
    for name, split in splits.items():
        split.verify(name, source, looks)
    for split in splits.values():
        for name, numbers in split.numbers.items():
            for other in splits.values():
                numbers.widen(other.numbers[name])
    columns = {name: split.columns(source, looks) for name, split in splits.items()}
    return Dataset(columns, _class_names(source.path, splits))


class _Split:
    """The records of one split, and their columns."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._picture_bytes: dict[str, int] = {}
        self.features: Mapping[str, Feature] = {}
        self.numbers: dict[str, Numbers] = {}

    def verify(self, split: str, source: Source, looks: dict[str, Look]) -> None:
        """Reads all records through."""
        for number, record in console.bar(self._records.verify(), desc=f"{split} records", unit="record"):
            place = self._records.place(number)
            try:
                example = parsed(record)
            except MisfitError as error:
                raise fault("*", Feature("all", "bytes"), place, error) from error
            if not self.features:
                self.features = source.features or _standard(example, source, place)
                self.numbers = {
                    name: Numbers(name, feature, self._records)
                    for name, feature in self.features.items()
                    if feature.kind != _PICTURE
                }
            for name, feature in self.features.items():
                try:
                    self._look(name, feature, example, looks, place)
                except MisfitError as error:
                    raise fault(name, feature, place, error) from error
        if not len(self._records):
            raise DatasetError("The TFRecords hold no example.", [("split", split), ("dataset.path", source.path)])

    def _look(
        self, name: str, feature: Feature, example: Any, looks: dict[str, Look], place: list[tuple[str, object]]
    ) -> None:
        if feature.kind != _PICTURE:
            self.numbers[name].add(example)
            return
        content = single(example, feature)
        try:
            looks.setdefault(name, Look()).add(header(content), ", ".join(f"{key} {value}" for key, value in place))
        except PictureError as error:
            raise damaged([*place, ("feature", feature.feature)], str(error)) from error
        self._picture_bytes[name] = self._picture_bytes.get(name, 0) + len(content)

    def columns(self, source: Source, looks: dict[str, Look]) -> dict[str, Rows | Pictures]:
        """Returns the columns."""
        columns: dict[str, Rows | Pictures] = {}
        for name, feature in self.features.items():
            if feature.kind == _PICTURE:
                columns[name] = self._pictures(name, feature, source, looks[name])
            else:
                columns[name] = self.numbers[name]
        return columns

    def _pictures(self, name: str, feature: Feature, source: Source, look: Look) -> Pictures:
        def content(number: int) -> bytes:
            return single(parsed(self._records.read(number)), feature)

        def place(number: int) -> list[tuple[str, object]]:
            return [*self._records.place(number), ("feature", feature.feature)]

        size_bytes = self._picture_bytes[name]
        count = len(self._records)
        return Pictures(look.shape(source), decoding(source), count, size_bytes, content, place, str)


def _standard(example: Any, source: Source, place: list[tuple[str, object]]) -> Mapping[str, Feature]:
    for features in (SLIM, TFDS):
        wanted = {name: each for name, each in features.items() if source.labels or each.kind == _PICTURE}
        if all(each.feature in example for each in wanted.values()):
            return wanted
    error = MisfitError("dataset.features is missing", got=described(example), expected="which feature is which array")
    raise fault("*", Feature("all", "bytes"), place, error)


def _class_names(path: Path, splits: Mapping[str, _Split]) -> dict[str, tuple[str, ...]]:
    """Returns the names of each column of classes; DatasetError for another number."""
    folder = path if path.is_dir() else path.parent
    class_names = {}
    train = splits["train"]
    for name, numbers in train.numbers.items():
        if numbers.dtype != np.int32:
            continue
        names = _names_beside(folder, name, train.features[name].feature)
        classes = numbers.counted.classes(name, numbers.shape) if names is None else len(names)
        if classes is None:
            continue
        for split, each in splits.items():
            wrong = each.numbers[name].counted.first_wrong(classes, numbers.shape)
            if wrong is not None:
                place: list[tuple[str, object]] = [("folder", folder), ("split", split)]
                error = MisfitError(
                    "a label is not a class", got=f"the label {wrong}", expected=f"labels 0..{classes - 1}"
                )
                raise fault(name, train.features[name], place, error)
        class_names[name] = names or tuple(map(str, range(classes)))
    return class_names


def _names_beside(folder: Path, name: str, feature: str) -> tuple[str, ...] | None:
    files = [f"{feature.replace('/', mark)}.labels.txt" for mark in "-._"]
    for file in (folder / each for each in [*files, *(["labels.txt"] if name == LABELS else [])]):
        if file.is_file():
            return _read_names(file)
    return None


def _read_names(file: Path) -> tuple[str, ...]:
    """Reads a line for each class, in TF-Slim's files with its number in front."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    pairs = [line.partition(":") for line in lines]
    if all(number.isdigit() and name for number, _, name in pairs):
        by_number = {int(number): name for number, _, name in pairs}
        lines = [by_number.get(number, str(number)) for number in range(max(by_number) + 1)]
    return tuple(lines)
