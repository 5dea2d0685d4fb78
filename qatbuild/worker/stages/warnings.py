"""Warnings about settings that are valid and probably not meant, for the log and the manifest.

Each is a sentence with a hint.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from qatbuild.exchange.dataset_facts import DatasetFacts
from qatbuild.exchange.facts import FloatFacts
from qatbuild.exchange.request import Request
from qatbuild.worker import console
from qatbuild.worker.training import log

FEWEST_BATCHES = 100
"""With fewer batches the moving average of a minimum or maximum still moves by more than a step."""
FEWEST_EXAMPLES = 100
FEWEST_BATCH_NORM_STEPS = 1000
"""Moving averages begin at 0 and 1; with a decay of 0.995 less than 1 % of that remains after so many steps."""
_SPLITS = {"train": "training", "test": "test"}
_LACKS = {
    "train": ("the network can learn no other answer", "the network cannot learn them"),
    "test": ("a network that always answers it reaches 100 %", "no figure of the test set is about them"),
}
_NAMED = 3
_EARLY = 10
_TOO_EARLY = (
    "The training starts from random weights and is quantized from step {delay} of {steps} on: such a training often"
    " never learns. Start from the float checkpoint, or give quant_delay the steps that the network needs in float."
)
_REMEMBERS = (
    "The batch norms' moving averages have seen only {steps} steps, fewer than {fewest}: they may still depend on their"
    " initial values. Compare the validation top-1 with the loss, or train for longer."
)


def of_start(settings: Mapping[str, Any], steps: int) -> list[str]:
    """Warnings about the start of a quantized training."""
    delay = int(settings["quant_delay"])
    if settings["start"] != "scratch" or delay * _EARLY >= steps:
        return []
    return [_TOO_EARLY.format(delay=delay, steps=steps)]


def of_statistics(request: Request, steps: int, *, folded: bool) -> list[str]:
    """Warnings about averages over too few batches; the quantized training has `steps` steps."""
    texts = []
    if steps < FEWEST_BATCHES:
        texts.append(
            f"The ranges are averages over only {steps} batches, fewer than {FEWEST_BATCHES}: raise quantize.steps."
        )
    freeze = request.settings["quantize"].get("freeze_bn_delay")
    return texts + _of_batch_norms(request, steps if freeze is None else min(steps, int(freeze)), folded=folded)


def of_calibration(request: Request, examples: int, available: int, *, folded: bool) -> list[str]:
    """Warnings about ranges that were measured on `examples` of the `available` training examples."""
    texts = []
    if examples < FEWEST_EXAMPLES:
        how = "raise quantize.calibration.images" if examples < available else "the dataset has no more for training"
        texts.append(f"The ranges are measured on only {examples} examples: {how}.")
    return texts + _of_batch_norms(request, 0, folded=folded)


def of_classes(dataset: DatasetFacts, taught: Collection[str]) -> list[str]:
    """Warnings about classes without examples: a network cannot learn them, or nothing measures whether it has.

    `taught` are the columns of classes that the network learns.
    """
    texts = []
    for column, by_split in dataset.class_counts.items():
        if column not in taught:
            continue
        for split in (each for each in _LACKS if each in by_split):
            texts += _of_split(split, dict(zip(dataset.columns[column].class_names, by_split[split], strict=True)))
    return texts


def _of_split(split: str, counts: Mapping[str, int]) -> list[str]:
    """Warnings about one split with `counts` examples of each class."""
    lone, lack = _LACKS[split]
    missing = [name for name, count in counts.items() if not count]
    present = [name for name, count in counts.items() if count]
    if len(present) == 1:
        return [f"All {_SPLITS[split]} examples are of one class, {present[0]}: {lone}."]
    if not (present and missing):
        return []
    names = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
    return [f"{len(missing)} of {len(counts)} classes have no {_SPLITS[split]} examples ({names}): {lack}."]


def of_answers(output: str, targets: Mapping[str, Sequence[str]], dataset: DatasetFacts) -> str:
    """A warning about an output that answers every test example alike; '' if the test examples are of one class.

    `targets` are the dataset's columns that each output is compared with.
    """
    for target in targets[output]:
        counts = dataset.class_counts.get(target, {}).get("test", ())
        if sum(map(bool, counts)) == 1:
            return ""
    which = "" if len(targets) == 1 else f"{output}: "
    text = "The .tflite gives every test example the same class: it has learnt nothing, or its integers have lost it."
    return f"{which}{text}"


def tell(request: Request, texts: Iterable[str]) -> None:
    """Writes warnings to the log and to the terminal."""
    for text in texts:
        log.write(f"warning: {text}")
        console.warn(f"{request.stage}: {text}")


def _of_batch_norms(request: Request, steps: int, *, folded: bool) -> list[str]:
    if "float" in request.inputs:
        facts = FloatFacts.of(request.inputs["float"].manifest.facts)
        if facts.from_weights:  # The number of their steps is unknown.
            return []
        steps += facts.checkpoints.last
    if not folded or steps >= FEWEST_BATCH_NORM_STEPS:
        return []
    return [_REMEMBERS.format(steps=steps, fewest=FEWEST_BATCH_NORM_STEPS)]
