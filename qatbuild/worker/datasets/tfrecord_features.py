"""Features of tf.train.Example as columns: numbers of a fixed or a varying count, raw bytes, encoded pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.classes import PADDING, Values
from qatbuild.worker.datasets.misfit import MisfitError
from qatbuild.worker.datasets.rows import Indices
from qatbuild.worker.datasets.source import Feature
from qatbuild.worker.datasets.tfrecord_records import Records

_LISTS = {"picture": "bytes_list", "bytes": "bytes_list", "int": "int64_list", "float": "float_list"}
_KINDS = {"bytes_list": "bytes (a picture, or raw bytes)", "int64_list": "int", "float_list": "float"}
_DTYPES: dict[str, np.dtype[Any]] = {
    "int": np.dtype(np.int32),
    "float": np.dtype(np.float32),
    "bytes": np.dtype(np.uint8),
}
_FILL: dict[str, int] = {"int": PADDING, "float": 0, "bytes": 0}
VARYING = -1


def parsed(record: bytes) -> Any:
    """Returns the features of an example; MisfitError for another record."""
    try:
        return tf.train.Example.FromString(record).features.feature
    except Exception as fault:  # protobuf's DecodeError, whose module has moved from version to version
        raise MisfitError("it is no tf.train.Example", got=str(fault), expected="a tf.train.Example") from fault


def described(features: Any) -> str:
    """Returns the features of an example in words."""
    rows = []
    for name in sorted(features):
        kind = features[name].WhichOneof("kind")
        count = len(getattr(features[name], kind).value) if kind else 0
        rows.append(f"{name}: {_KINDS.get(kind, 'empty')}{'' if count == 1 else f' [{count}]'}")
    return "\n".join(rows) or "no feature"


def values(features: Any, feature: Feature, *, optional: bool = False) -> Any:
    """Returns the values of a feature; MisfitError if it is missing or of another kind.

    An optional one, of a varying count, may be missing or empty.
    """
    if feature.feature not in features:
        if optional:
            return ()
        got = f"only {', '.join(sorted(features)) or 'nothing'}"
        raise MisfitError("a feature is missing", got=got, expected=feature.feature)
    wanted = _LISTS[feature.kind]
    kind = features[feature.feature].WhichOneof("kind")
    if optional and (kind is None or not getattr(features[feature.feature], kind).value):
        return ()
    if kind != wanted:
        raise MisfitError("a feature is of another kind", got=_KINDS.get(kind, "empty"), expected=_KINDS[wanted])
    return getattr(features[feature.feature], wanted).value


def single(features: Any, feature: Feature) -> bytes:
    """Returns the one text of bytes of a feature; MisfitError."""
    each = values(features, feature)
    if len(each) != 1:
        raise MisfitError("a feature has another number of values", got=str(len(each)), expected="1")
    content: bytes = each[0]
    return content


class Numbers:
    """A column of a feature of numbers or raw bytes."""

    def __init__(self, name: str, feature: Feature, records: Records) -> None:
        """Begins without a value; `add` every record before a row is read."""
        self._name, self._feature, self._records = name, feature, records
        self.dtype = _DTYPES[feature.kind]
        self.counted = Values()
        self._fewest, self._most = -1, 0
        self._varies = feature.shape is not None and VARYING in feature.shape
        if self._varies:
            self.counted.add(np.array([PADDING]))

    def add(self, features: Any) -> None:
        """Looks at an example; MisfitError if its feature does not fit."""
        numbers = self._numbers(features)
        if self.dtype == np.int32:
            self.counted.add(numbers)
            limits = np.iinfo(np.int32)
            if numbers.size and not limits.min <= numbers.min() <= numbers.max() <= limits.max:
                expected = f"numbers {limits.min} .. {limits.max}"
                raise MisfitError("a number is too large", got=str(numbers), expected=expected)
        elif self.dtype == np.float32 and not np.isfinite(numbers).all():
            got = str(numbers[~np.isfinite(numbers)][0])
            raise MisfitError("a value is not a finite number", got=got, expected="real numbers")
        self._fewest = numbers.size if self._fewest < 0 else min(self._fewest, numbers.size)
        self._most = max(self._most, numbers.size)
        self._check_count(numbers.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row; as long as the longest one where the count varies."""
        shape = self._feature.shape
        if shape is None:
            return () if self._fewest == self._most == 1 and self.dtype != np.uint8 else (max(self._most, 1),)
        others = math.prod(size for size in shape if size != VARYING)
        return tuple(max(1, self._most // others) if size == VARYING else size for size in shape)

    def __len__(self) -> int:
        return len(self._records)

    def read(self, index: Indices) -> NDArray[Any]:
        """Returns rows in the order of `index`, [n, *shape]; short ones padded."""
        rows = np.empty((len(index), math.prod(self.shape)), self.dtype)
        rows[:] = _FILL[self._feature.kind]
        for row, number in zip(rows, index.tolist(), strict=True):
            numbers = self._numbers(parsed(self._records.read(number)))
            row[: numbers.size] = numbers
        return rows.reshape(len(index), *self.shape)

    def widen(self, other: Numbers) -> None:
        """Takes the larger count of two splits as that of both."""
        most, fewest = max(self._most, other._most), min(self._fewest, other._fewest)
        self._most = other._most = most
        self._fewest = other._fewest = fewest

    def _numbers(self, features: Any) -> NDArray[Any]:
        if self._feature.kind == "bytes":
            return np.frombuffer(single(features, self._feature), np.uint8)
        dtype = np.int64 if self._feature.kind == "int" else np.float32
        return np.array(values(features, self._feature, optional=self._varies), dtype)

    def _check_count(self, count: int) -> None:
        shape = self._feature.shape
        if shape is None:
            return
        if VARYING in shape[1:]:
            expected = "-1 as the first size alone"
            raise MisfitError("only the first size may vary", got=f"the shape {list(shape)}", expected=expected)
        others = math.prod(size for size in shape if size != VARYING)
        if count % others if VARYING in shape else count != others:
            expected = f"{'a multiple of ' if VARYING in shape else ''}{others}, for the shape {list(shape)}"
            raise MisfitError("a feature has another number of values", got=str(count), expected=expected)


def fault(name: str, feature: Feature, place: list[tuple[str, object]], error: MisfitError) -> DatasetError:
    """Returns the error for a record that does not fit."""
    facts = [*place, (f"dataset.features.{name}", feature.feature), ("found", error.got), ("expected", error.expected)]
    return DatasetError(
        f"The TFRecords cannot be used: {error.what}.",
        facts,
        'Name each array\'s feature: "features": {"images": {"feature": "image/encoded", "kind": "picture"}}; the kinds'
        " are picture, int, float and bytes, and -1 in a shape stands for a count that varies.",
    )
