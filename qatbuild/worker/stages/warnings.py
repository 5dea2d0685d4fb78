"""What is allowed, and seldom what was meant: said in the log and the manifest, before hours are spent on it.

Each doubt is a sentence with what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tqdm import tqdm

from qatbuild.exchange.request import Request
from qatbuild.worker import console
from qatbuild.worker.training import log

FEWEST_BATCHES = 100
"""Of fewer batches the average of their least and greatest values still moves by more than a code."""
FEWEST_IMAGES = 100
FEWEST_BATCH_NORM_STEPS = 1000
"""Moving averages begin at 0 and 1; with a decay of 0.995 less than 1 % of that is left then."""
_EARLY = 10
_TOO_EARLY = (
    "The training starts from random weights and is quantized from step {delay} of {steps} on: such a training often"
    " never learns. Start from the float checkpoint, or give quant_delay the steps that the network needs in float."
)
_REMEMBERS = (
    "The batch norms' moving averages have seen only {steps} steps, fewer than {fewest}: they may still remember where"
    " they began. Compare the validation top-1 with the loss, or train for longer."
)


def of_start(settings: Mapping[str, Any], steps: int) -> list[str]:
    """Doubts about how a quantized training begins."""
    delay = int(settings["quant_delay"])
    if settings["start"] != "scratch" or delay * _EARLY >= steps:
        return []
    return [_TOO_EARLY.format(delay=delay, steps=steps)]


def of_statistics(request: Request, steps: int, *, folded: bool) -> list[str]:
    """Doubts about averages that have seen too little; `steps` is the length of the quantized training."""
    found = []
    if steps < FEWEST_BATCHES:
        found.append(
            f"The ranges are averages over only {steps} batches, fewer than {FEWEST_BATCHES}: raise quantize.steps."
        )
    freeze = request.settings["quantize"].get("freeze_bn_delay")
    return found + _of_batch_norms(request, steps if freeze is None else min(steps, int(freeze)), folded=folded)


def of_calibration(request: Request, *, folded: bool) -> list[str]:
    """Doubts about measured ranges."""
    images, found = int(request.settings["quantize"]["calibration"]["images"]), []
    if images < FEWEST_IMAGES:
        found.append(f"The ranges are measured on only {images} images: raise quantize.calibration.images.")
    return found + _of_batch_norms(request, 0, folded=folded)


def tell(request: Request, doubts: Iterable[str]) -> None:
    """Write them to the log, and to whoever is watching the build."""
    for doubt in doubts:
        log.write(f"warning: {doubt}")
        tqdm.write(f"warning: {request.stage}: {doubt}", file=console.stream())


def _of_batch_norms(request: Request, steps: int, *, folded: bool) -> list[str]:
    if "float" in request.inputs:
        facts = request.inputs["float"].manifest.facts
        if facts.get("from_weights"):  # Nobody knows how many steps those have seen.
            return []
        steps += int(facts["last"])
    if not folded or steps >= FEWEST_BATCH_NORM_STEPS:
        return []
    return [_REMEMBERS.format(steps=steps, fewest=FEWEST_BATCH_NORM_STEPS)]
