"""The rules of `quantize`: its method, mode, steps and overrides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qatbuild.schema.faults import Fault
from qatbuild.schema.methods import DEFAULT, FIELDS_OF_METHOD, a_fifth
from qatbuild.schema.rules.reading import at, inputs_of, integer, is_pair, is_real, outputs_of, place_of_input

_BITS = 8
_NARROWEST, _WIDEST = 2.0**-8, 2.0**16


def violations(document: Any) -> Iterator[Fault]:
    """Yields a fault for each violated rule of the quantization."""
    yield from _steps(document)
    yield from _method(document)
    yield from _mode(document)
    yield from _overrides(document)


def _steps(document: Any) -> Iterator[Fault]:
    steps = quantized_steps(document)
    for name, otherwise in (("quant_delay", "nothing is quantized"), ("freeze_bn_delay", "nothing is frozen")):
        delay = integer(document, "quantize", name)
        if steps is not None and delay is not None and delay >= steps:
            text = f"must be less than the {steps} steps of its training, or {otherwise}; got {delay}."
            yield Fault(("quantize", name), text)


def _method(document: Any) -> Iterator[Fault]:
    """Yields a fault for each field of the other method (a patch that changes the method drops such fields)."""
    ptq = is_ptq(document)
    for name in FIELDS_OF_METHOD["qat" if ptq else "ptq"]:
        value = at(document, "quantize", name)
        if value is None or (name, value) == ("start", "float"):
            continue
        reason = "ptq does not train" if ptq else "calibration is for ptq; qat learns ranges in training"
        yield Fault(("quantize", name), f'{reason}: remove this field, or write "method": "{"qat" if ptq else "ptq"}".')
    if at(document, "quantize", "calibration", "percentile") is not None:
        wanted = at(document, "quantize", "calibration", "range")
        if wanted != "percentile":
            text = f'needs "range": "percentile", got {wanted or "min_max"}.'
            yield Fault(("quantize", "calibration", "percentile"), text)


def _mode(document: Any) -> Iterator[Fault]:
    if at(document, "quantize", "mode") != "tf1":
        return
    if at(document, "quantize", "scheme") == "int8_per_channel":
        text = 'tf.contrib.quantize has no ranges per channel: with "mode": "tf1" write uint8, or int8 (symmetric).'
        yield Fault(("quantize", "scheme"), text)
    if at(document, "quantize", "overrides"):
        text = 'tf.contrib.quantize has no exceptions by layer: remove them, or write "mode": "integer".'
        yield Fault(("quantize", "overrides"), text)
    inputs, outputs = inputs_of(document), outputs_of(document)
    tasks = [output.get("task") for output in outputs.values()]
    for name, part in inputs.items():
        for field in ("mean", "std_dev"):
            if isinstance(part.get(field), list):
                text = 'is one number with "mode": "tf1": write "mode": "integer", which takes one for each channel.'
                yield Fault((*place_of_input(document, name), field), text)
    if len(inputs) > 1 or any(map(is_real, inputs.values())) or (tasks and tasks != ["classification"]):
        text = 'tf.contrib.quantize knows one input of bytes and one classification: write "mode": "integer".'
        yield Fault(("quantize", "mode"), text)


def _overrides(document: Any) -> Iterator[Fault]:
    overrides = at(document, "quantize", "overrides")
    scheme = at(document, "quantize", "scheme") or "uint8"
    for index, override in enumerate(overrides if isinstance(overrides, list) else ()):
        path = ("quantize", "overrides", index)
        ends, bits, stays_float = (at(override, name) for name in ("range", "bits", "float"))
        if isinstance(override, dict) and ends is None and bits is None and not stays_float:
            yield Fault(path, "must set range, bits or float.")
        if stays_float and not (ends is None and bits is None):
            yield Fault(path, 'must not set range or bits with "float": true.')
        if is_pair(ends) and not ends[0] <= 0 <= ends[1]:
            text = f"must contain 0, which padding and ReLU need exactly; got {ends[0]} .. {ends[1]}."
            yield Fault((*path, "range"), text)
        elif is_pair(ends) and not ends[0] < ends[1]:
            yield Fault(
                (*path, "range"), f"must be [minimum, maximum] with minimum < maximum; got {ends[0]} .. {ends[1]}."
            )
        elif is_pair(ends) and not _NARROWEST <= ends[1] - ends[0] <= _WIDEST:
            text = f"must be {_NARROWEST:g} to {_WIDEST:g} wide, as the kernels require; got {ends[0]} .. {ends[1]}."
            yield Fault((*path, "range"), text)
        if scheme == "uint8" and isinstance(bits, int) and bits != _BITS:
            text = f"must be {_BITS} with uint8, whose kernels compute wrongly with fewer; got {bits}. Use int8."
            yield Fault((*path, "bits"), text)


def is_ptq(document: Any) -> bool:
    """Returns whether the method is post-training quantization."""
    return (at(document, "quantize", "method") or DEFAULT) == "ptq"


def quantized_steps(document: Any) -> int | None:
    """Returns the number of steps of the quantized training, with its default; None for ptq."""
    train, fine_tuned = integer(document, "train", "steps"), integer(document, "quantize", "steps")
    if is_ptq(document):
        return None
    if at(document, "quantize", "start") == "scratch":
        return train
    return fine_tuned if fine_tuned is not None or train is None else a_fifth(train)
