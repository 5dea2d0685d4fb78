"""What is unusual about data: sentences; and what no training could use: errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.look import DataLook
from qatbuild.worker.datasets.source import Source
from qatbuild.worker.look.sample import MOST_DECODED, Sample

_FEW = 50
"""Examples of a class below which a network hardly learns it."""

_UNEVEN = 10
_FEW_TESTS = 100
_GREATEST_BYTE = 255


def check(source: Source, task: str, class_counts: Mapping[str, int]) -> None:
    """Raise a DatasetError if there is one class."""
    if task == "classification" and len(class_counts) == 1:
        facts = [("data", source.path), ("class", next(iter(class_counts)))]
        hint = "Add examples of another class; or give a trained network with --model, and --no-labels."
        raise DatasetError("The data have one class: there is no difference to learn.", facts, hint)


def check_values(source: Source, sample: Sample) -> None:
    """Raise a DatasetError if all values are equal."""
    if sample.least == sample.greatest:
        facts = [("data", source.path), ("value", f"{sample.least:g} everywhere, in {sample.examples} examples")]
        raise DatasetError("All values of the input are equal.", facts, "look at what wrote the data")


def written(look: DataLook) -> Iterator[str]:
    """Yield a sentence for each thing that is unusual about the data."""
    counts = {name: count for name, count in look.class_counts.items() if look.task == "classification"}
    if counts and min(counts.values()) * _UNEVEN <= max(counts.values()):
        few, many = min(counts, key=lambda name: counts[name]), max(counts, key=lambda name: counts[name])
        share = 100 * counts[many] / sum(counts.values())
        yield (
            f"the classes are uneven: {counts[many]} training examples of {many}, {counts[few]} of {few};"
            f" always answering {many} is right in {share:.0f} %"
        )
    elif counts and min(counts.values()) < _FEW:
        few = min(counts, key=lambda name: counts[name])
        yield f"{counts[few]} training examples of the class {few} are few: a network learns little from them"
    tested = look.counts.get("test", round(look.counts["train"] * look.dataset.get("test", 0)))
    if tested < _FEW_TESTS:
        yield f"{max(1, tested)} test examples are few: accuracy comes in steps of {100 / max(1, tested):.2g} points"
    if look.dtype == "float32":
        yield from _of_reals(look)
    if look.sampled < look.examples > MOST_DECODED:
        yield f"mean and deviation are those of {look.sampled} of {look.examples} examples, evenly spaced"


def _of_reals(look: DataLook) -> Iterator[str]:
    values = f"the input's values are real, {look.least:.4g}..{look.greatest:.4g}"
    if len(look.shape) > 1 and look.least >= 0 and 1 < look.greatest <= _GREATEST_BYTE:
        yield f"{values}: if these are pictures, save them as uint8, and a device can feed its camera's bytes"
    elif len(look.shape) > 1 and look.least >= 0 and look.greatest <= 1:
        yield f"{values}: if these are pictures, save round(255 * value) as uint8, and a device can feed bytes"
    else:
        yield values
