"""Warnings about settings that are valid and probably not meant, for the log and the manifest.

Each is a sentence with a hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from qatbuild.exchange.facts import DatasetFacts, FloatFacts
from qatbuild.exchange.request import Request
from qatbuild.worker import console
from qatbuild.worker.training import log

FEWEST_BATCHES = 100
"""With fewer batches the moving average of a minimum or maximum still moves by more than a step."""
FEWEST_IMAGES = 100
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


def of_calibration(request: Request, images: int, available: int, *, folded: bool) -> list[str]:
    """Warnings about ranges that were measured on `images` of the `available` training images."""
    texts = []
    if images < FEWEST_IMAGES:
        how = "raise quantize.calibration.images" if images < available else "the dataset has no more for training"
        texts.append(f"The ranges are measured on only {images} images: {how}.")
    return texts + _of_batch_norms(request, 0, folded=folded)


def of_classes(dataset: DatasetFacts) -> list[str]:
    """Warnings about classes without images: a network cannot learn them, or nothing measures whether it has."""
    texts = []
    for split, (lone, lack) in _LACKS.items():
        counts = dataset.class_counts.get(split, ())
        missing = [name for name, count in zip(dataset.class_names, counts, strict=False) if not count]
        present = [name for name, count in zip(dataset.class_names, counts, strict=False) if count]
        if len(present) == 1:
            texts.append(f"All {_SPLITS[split]} images are of one class, {present[0]}: {lone}.")
        elif present and missing:
            names = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
            lacks = f"{len(missing)} of {dataset.classes} classes have no {_SPLITS[split]} images ({names})"
            texts.append(f"{lacks}: {lack}.")
    return texts


def of_answers(predicted: NDArray[np.int64], labels: NDArray[np.int32]) -> list[str]:
    """Warnings about the classes [n] that a model predicts for test images of the classes `labels` [n]."""
    if len(np.unique(predicted)) > 1 or len(np.unique(labels)) == 1:
        return []
    return ["The .tflite gives every test image the same class: it has learnt nothing, or its integers have lost it."]


def tell(request: Request, texts: Iterable[str]) -> None:
    """Write warnings to the log and to the terminal."""
    for text in texts:
        log.write(f"warning: {text}")
        tqdm.write(f"warning: {request.stage}: {text}", file=console.stream())


def _of_batch_norms(request: Request, steps: int, *, folded: bool) -> list[str]:
    if "float" in request.inputs:
        facts = FloatFacts.of(request.inputs["float"].manifest.facts)
        if facts.from_weights:  # The number of their steps is unknown.
            return []
        steps += facts.checkpoints.last
    if not folded or steps >= FEWEST_BATCH_NORM_STEPS:
        return []
    return [_REMEMBERS.format(steps=steps, fewest=FEWEST_BATCH_NORM_STEPS)]
