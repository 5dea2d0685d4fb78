"""The rules of the trainings: their learning rates, start and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qatbuild.schema.faults import Fault
from qatbuild.schema.methods import a_fifth
from qatbuild.schema.rules.dataset import FIXED, kind_of
from qatbuild.schema.rules.network import has_weights
from qatbuild.schema.rules.quantization import is_ptq, quantized_steps
from qatbuild.schema.rules.reading import at, integer


def violations(document: Any) -> Iterator[Fault]:
    """Yields a fault for each violated rule of the trainings."""
    yield from _checkpoint(document)
    yield from _learning_rate(document, ("train", "learning_rate"), integer(document, "train", "steps"))
    yield from _learning_rate(document, ("quantize", "learning_rate"), quantized_steps(document))
    yield from _start(document)


def _checkpoint(document: Any) -> Iterator[Fault]:
    path = ("convert", "checkpoint")
    wanted, steps = at(document, *path), quantized_steps(document)
    if is_ptq(document) and isinstance(wanted, int):
        yield Fault(path, f'ptq does not train and has one checkpoint: write "last"; got {wanted}.')
    if isinstance(wanted, int) and wanted > 0 and steps is not None and steps > 0:
        scratch = at(document, "quantize", "start") == "scratch"
        every = integer(document, "train" if scratch else "quantize", "checkpoint_every") or a_fifth(steps)
        if every > 0 and not (wanted == steps or (wanted < steps and wanted % every == 0)):
            yield Fault(
                path, f"must be a step with a checkpoint: every {every} steps, and the last, {steps}; got {wanted}."
            )
    if wanted == "best" and at(document, "dataset", "validation") == 0 and kind_of(document) in FIXED:
        yield Fault(path, '"best" needs validation images, but dataset.validation is 0.')


def _learning_rate(document: Any, path: tuple[str, str], steps: int | None) -> Iterator[Fault]:
    warm_up = integer(document, *path, "warm_up_steps")
    if warm_up is not None and steps is not None and warm_up >= steps:
        yield Fault((*path, "warm_up_steps"), f"must be less than the {steps} steps of the training, got {warm_up}.")
    boundaries, values = at(document, *path, "boundaries"), at(document, *path, "values")
    if isinstance(boundaries, list) and isinstance(values, list) and len(boundaries) != len(values):
        yield Fault(
            (*path, "values"),
            f"must have one value for each boundary; got {len(boundaries)} boundaries, {len(values)} values.",
        )
    if (
        isinstance(boundaries, list)
        and all(isinstance(step, int) for step in boundaries)
        and boundaries != sorted(set(boundaries))
    ):
        yield Fault((*path, "boundaries"), f"must increase, got {boundaries}.")


def _start(document: Any) -> Iterator[Fault]:
    scratch = at(document, "quantize", "start") == "scratch"
    weights = at(document, "model", "weights")
    if at(document, "train") is None:
        yield from _without_train(document, scratch=scratch)
    if scratch and weights is not None:
        yield Fault(
            ("model", "weights"), 'a training from "scratch" starts from random weights; use quantize.start "float".'
        )
    if scratch:
        for name in ("steps", "learning_rate"):
            if at(document, "quantize", name) is not None:
                yield Fault(
                    ("quantize", name), f'with quantize.start "scratch", train.{name} applies: remove this field.'
                )


def _without_train(document: Any, *, scratch: bool) -> Iterator[Fault]:
    if not has_weights(document):
        text = "missing. Only with trained weights (model.weights, keras, saved_model or graph_def) may it be absent."
        yield Fault(("train",), text)
    elif scratch:
        yield Fault(("train",), 'missing. With quantize.start "scratch", train.steps is needed.')
    elif not is_ptq(document):
        for name in ("steps", "learning_rate"):
            if at(document, "quantize", name) is None:
                yield Fault(("quantize", name), "missing. Its default depends on `train`, which is absent.")
