"""The results of the stage `dataset`: the columns of the examples, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from qatbuild.exchange.decoding import Decoding
from qatbuild.exchange.facts import Json, plain


class Statistics(NamedTuple):
    """Population mean and standard deviation of bytes, 0..255: by channel of images, and over all values."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    mean_all: float
    std_all: float


class RealStatistics(NamedTuple):
    """Least and greatest value, population mean and standard deviation of real values, over the whole column."""

    least: float
    greatest: float
    mean: float
    std: float


class Column(NamedTuple):
    """One named array of the examples: uint8 (bytes), int32 (classes, numbers) or float32 (real values).

    `shape` is that of one example, () for a number. `class_names` are those of a column of classes, else empty.
    `statistics` are those of the training examples, None for classes. `decoding` is that of pictures that are stored
    encoded and decoded when they are read; None for arrays.
    """

    dtype: str
    shape: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    statistics: Statistics | RealStatistics | None = None
    decoding: Decoding | None = None

    @classmethod
    def of(cls, fields: Json) -> Column:
        """Reads what `to_json` of the dataset's facts wrote."""
        rows = fields["statistics"]
        statistics: Statistics | RealStatistics | None = None
        if rows is not None and fields["dtype"] == "uint8":
            statistics = Statistics(tuple(rows["mean"]), tuple(rows["std"]), rows["mean_all"], rows["std_all"])
        elif rows is not None:
            statistics = RealStatistics(**rows)
        decoding = fields["decoding"] and Decoding(
            fields["decoding"]["resize"], tuple(fields["decoding"]["background"])
        )
        return cls(fields["dtype"], tuple(fields["shape"]), tuple(fields["class_names"]), statistics, decoding)


class DatasetFacts(NamedTuple):
    """The stage `dataset`.

    `columns` are the named arrays of an example, `counts` the examples by split, `class_counts` those of each class by
    column and split, `notes` sentences for the report, `conversions` the pictures that took each kind of conversion.
    Without `labelled` it has inputs only.
    """

    columns: Mapping[str, Column]
    counts: Mapping[str, int]
    class_counts: Mapping[str, Mapping[str, Sequence[int]]]
    notes: tuple[str, ...] = ()
    conversions: Mapping[str, int] = MappingProxyType({})
    labelled: bool = True

    def to_json(self) -> dict[str, Any]:
        """The facts of the manifest."""
        return plain(self)

    @classmethod
    def of(cls, facts: Json) -> DatasetFacts:
        """Reads the facts of a manifest."""
        columns = {name: Column.of(each) for name, each in facts["columns"].items()}
        notes, labelled = tuple(facts["notes"]), bool(facts["labelled"])
        return cls(columns, facts["counts"], facts["class_counts"], notes, facts["conversions"], labelled)
