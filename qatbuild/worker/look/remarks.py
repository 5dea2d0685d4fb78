"""What is unusual about data: sentences; and what no training could use: errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from qatbuild.exchange.errors import DatasetError
from qatbuild.exchange.look import BYTES, DataLook, InputLook, TargetLook
from qatbuild.worker.datasets.source import Source
from qatbuild.worker.look.sample import MOST_DECODED

_FEW = 50
"""Examples of a class below which a network hardly learns it."""

_UNEVEN = 10
_FEW_TESTS = 100
_GREATEST_BYTE = 255
_IMAGE_RANK = 2


def check(source: Source, inputs: Iterable[InputLook], targets: Iterable[TargetLook]) -> None:
    """Raises a DatasetError if there is one class, or if all values of an input are equal."""
    for target in targets:
        if target.task == "classification" and len(target.class_counts) == 1:
            facts = [("data", source.path), ("class", next(iter(target.class_counts)))]
            hint = "Add examples of another class; or give a trained network with --model, and --no-labels."
            raise DatasetError("The data have one class: there is no difference to learn.", facts, hint)
    for each in inputs:
        if each.least == each.greatest:
            facts = [("data", source.path), ("input", each.name), ("value", f"{each.least:g} everywhere")]
            raise DatasetError("All values of the input are equal.", facts, "look at what wrote the data")


def written(look: DataLook) -> Iterator[str]:
    """Yields a sentence for each thing that is unusual about the data."""
    for target in look.targets:
        if target.task == "classification":
            yield from _of_classes(target.class_counts)
    tested = look.counts.get("test", round(look.counts["train"] * look.dataset.get("test", 0)))
    if tested < _FEW_TESTS:
        yield f"{max(1, tested)} test examples are few: accuracy comes in steps of {100 / max(1, tested):.2g} points"
    for each in look.inputs:
        if each.dtype != BYTES:
            yield _of_reals(each)
    if look.sampled < look.examples > MOST_DECODED:
        yield f"mean and deviation are those of {look.sampled} of {look.examples} examples, evenly spaced"


def _of_classes(counts: Mapping[str, int]) -> Iterator[str]:
    few, many = min(counts, key=lambda name: counts[name]), max(counts, key=lambda name: counts[name])
    if counts[few] * _UNEVEN <= counts[many]:
        share = 100 * counts[many] / sum(counts.values())
        yield (
            f"the classes are uneven: {counts[many]} training examples of {many}, {counts[few]} of {few};"
            f" always answering {many} is right in {share:.0f} %"
        )
    elif counts[few] < _FEW:
        yield f"{counts[few]} training examples of the class {few} are few: a network learns little from them"


def _of_reals(each: InputLook) -> str:
    values = f"the values of {each.name} are real, {each.least:.4g}..{each.greatest:.4g}"
    if len(each.shape) < _IMAGE_RANK or each.least < 0 or each.greatest > _GREATEST_BYTE:
        return values
    if each.greatest > 1:
        return f"{values}: if these are pictures, save them as uint8, and a device can feed its camera's bytes"
    return f"{values}: if these are pictures, save round(255 * value) as uint8, and a device can feed bytes"
