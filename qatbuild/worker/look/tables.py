"""Tables that are no tables of pictures, and what to do about them: other readers know only what they lack."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

from qatbuild.exchange.errors import DatasetError

_SEPARATORS = ";\t|"
_MOST_CHARACTERS = 1 << 16


def check(table: Path) -> None:
    """Raises a DatasetError for a table in another encoding, with other separators, or of numbers."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            lines = list(itertools.islice(file, 2))
    except UnicodeDecodeError as fault:
        facts = [("data", table), ("found", fault)]
        raise DatasetError("The table is not in UTF-8.", facts, "save it again, in UTF-8") from fault
    header, *examples = csv.reader(line[:_MOST_CHARACTERS] for line in lines or [""])
    if "name" in (name.strip().lower() for name in header):
        return
    facts = [("data", table), ("header", ",".join(header))]
    if len(header) == 1 and any(mark in "".join(header) for mark in _SEPARATORS):
        raise DatasetError("The table's columns are not separated by commas.", facts, "save it again, with commas")
    if any(_is_number(value) for row in examples for value in row):
        hint = (
            'Save them as arrays: numpy.savez("data.npz", train_features=..., train_labels=...), of float32 and of'
            " classes 0, 1, 2, ..., and give data.npz, with a network of yours: --model networks:function."
        )
        raise DatasetError("The table holds numbers, not the names of pictures.", facts, hint)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
