"""The files of TFRecords: which split each belongs to, by its name, and whether all shards are there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.source import Source, split_names

WORDS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test",),
}
"""The words for a split in a file's name, where the spec does not give them."""

_RECORDS = re.compile(r"tfrec|\.records?\b|-of-\d+", re.IGNORECASE)
_NUMBER = re.compile(r"(.*?)(\d+)-of-(\d+)(.*)")
_HINT = (
    "Name the files after their splits, as train-00000-of-00010, flowers_train_00000-of-00005.tfrecord or"
    " mnist-test.tfrecord-00000-of-00001, or give the words for the splits as dataset.splits."
)


def shards(source: Source, path: Path) -> dict[str, list[Path]]:
    """Returns the files of each split, sorted; a lone file is for training. DatasetError if files are missing."""
    if path.is_file():
        return {"train": [path]}
    files = sorted(file for file in path.iterdir() if file.is_file() and _RECORDS.search(file.name))
    splits = {
        split: [file for file in files if any(_has_word(file.name, word) for word in words)]
        for split, words in split_names(source, WORDS).items()
    }
    splits = {split: chosen for split, chosen in splits.items() if chosen}
    if "train" not in splits:
        present = ", ".join(file.name for file in sorted(path.iterdir())[:8]) or "nothing"
        raise _fault(path, "it has no files for training", f"only {present}")
    for chosen in splits.values():
        _check_numbers(path, chosen)
    return splits


def _has_word(name: str, word: str) -> bool:
    return re.search(rf"(?:^|[-_.]){re.escape(word)}(?:[-_.]|$)", name) is not None


def _check_numbers(folder: Path, files: list[Path]) -> None:
    """Compares the numbers of the shards, such as 00003-of-00010, with those that there should be."""
    present: dict[tuple[str, str, str], set[int]] = {}
    for file in files:
        if match := _NUMBER.fullmatch(file.name):
            begin, number, total, end = match.groups()
            present.setdefault((begin, total, end), set()).add(int(number))
    for (begin, total, end), numbers in present.items():
        missing = sorted(set(range(int(total))) - numbers)
        if missing:
            name = f"{begin}{missing[0]:0{len(total)}}-of-{total}{end}"
            raise _fault(folder, f"{len(missing)} of {int(total)} shards are missing", f"no {name}")


def _fault(folder: Path, what: str, got: str) -> DatasetError:
    return DatasetError(f"The TFRecords cannot be used: {what}.", [("folder", folder), ("found", got)], _HINT)
