"""The data as the spec names them: its `dataset` with every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple


class Feature(NamedTuple):
    """An array of a TFRecord: the name of its feature, its kind, and an example's shape.

    The kinds are "picture", "int", "float" and "bytes". Without a `shape` the records decide; a size of -1 is that
    of the longest example, to which the others are padded.
    """

    feature: str
    kind: str
    shape: tuple[int, ...] | None = None


class Source(NamedTuple):
    """The spec's `dataset`.

    `path` is a file or folder and goes before `url` (with `sha256`). `labels`: whether the examples have targets.
    `validation` and `test` are fractions to hold out where the data have no such split. `splits`: split -> name of its
    folder. `size` (height, width), `resize`, `color`, `background` (red, green, blue) say how pictures are read;
    `skip_damaged` leaves damaged ones out; `table` is a CSV file of their names and classes. `features` are those of
    TFRecords. `call` is the project's function that makes the arrays, with its `options`.
    """

    name: str
    path: Path | None = None
    url: str | None = None
    sha256: str | None = None
    labels: bool = True
    validation: float = 0.1
    test: float | None = None
    splits: Mapping[str, str] | None = None
    size: tuple[int, int] | None = None
    resize: str = "crop"
    color: str | None = None
    background: tuple[int, int, int] = (0, 0, 0)
    skip_damaged: bool = False
    table: str | None = None
    features: Mapping[str, Feature] | None = None
    call: str | None = None
    options: Mapping[str, Any] = MappingProxyType({})

    @classmethod
    def of(cls, fields: Mapping[str, Any], path: Path | None) -> Source:
        """Reads the settings; what is null has its default."""
        values = {name: value for name, value in fields.items() if value is not None and name in cls._fields}
        for name in ("size", "background"):
            if name in values:
                values[name] = tuple(values[name])
        if "features" in values:
            values["features"] = {name: _feature(each) for name, each in values["features"].items()}
        return cls(**{**values, "path": path})


def _feature(fields: Mapping[str, Any]) -> Feature:
    shape = fields.get("shape")
    return Feature(fields["feature"], fields["kind"], None if shape is None else tuple(shape))


def split_names(source: Source, usual: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Returns the names of each split: the spec's, else the usual ones that the spec does not give to another split."""
    chosen = {split: name for split, name in (source.splits or {}).items() if name}
    others = {
        split: tuple(name for name in names if name not in chosen.values())
        for split, names in usual.items()
        if split not in chosen
    }
    return {split: (chosen[split],) if split in chosen else others[split] for split in usual}
