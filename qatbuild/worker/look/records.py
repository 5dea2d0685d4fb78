"""The features of TFRecords that a spec names: TF-Slim's or TFDS's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qatbuild.worker.datasets.misfit import MisfitError
from qatbuild.worker.datasets.source import Feature, Source
from qatbuild.worker.datasets.tfrecord import SLIM, TFDS
from qatbuild.worker.datasets.tfrecord_features import parsed
from qatbuild.worker.datasets.tfrecord_records import Records
from qatbuild.worker.datasets.tfrecord_shards import shards


def features(source: Source, downloads: Path) -> Mapping[str, Feature] | None:
    """Returns the features that the first record has; None for others, of which the reader of all records says more."""
    assert source.path is not None
    first = next(Records(shards(source, source.path)["train"], downloads).verify(), None)
    try:
        example = parsed(first[1]) if first else {}
    except MisfitError:
        return None
    for standard in (SLIM, TFDS):
        wanted = {name: each for name, each in standard.items() if source.labels or each.kind == "picture"}
        if all(each.feature in example for each in wanted.values()):
            return wanted
    return None
