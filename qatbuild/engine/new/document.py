"""A new spec as plain data: what fits the data, the network and the time, with the reason of each number beside it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from qatbuild.engine.new.networks import ChosenNetwork
from qatbuild.exchange.look import BYTES, DataLook, InputLook, TargetLook
from qatbuild.schema.comments import COMMENT
from qatbuild.schema.ends import IMAGES, LABELS

_QUANTIZED_COST = 3
"""Steps in float that one step with fake quantization takes as long as, about."""

_QUANTIZED_SHARE = 5
"""The quantized training has a fifth of the steps: the default of quantize.steps."""

_LEAST_STEPS = 500
"""A fifth of them is enough for settled ranges: fewer only where a step takes long."""

_FEWEST_STEPS = 50
_MOST_EPOCHS = 100
_LARGEST_BATCH = 64
_HELD_OUT = 0.28
"""Share of examples without a test split that is not trained on: a fifth, and a tenth of the others."""

_TESTS = 2
"""Test examples that the .tflite may lose where a point is fewer."""

_BYTE = 255

_METRICS = {"classification": "top1", "multilabel": "auc", "regression": "r2"}
"""The metric of each task that gates."""

_REAL = "Real values: their range is learnt, and report.json says how a device makes integers of them."


class Budget(NamedTuple):
    """How long the trainings may take: `steps`, or those that fit into `minutes` at `step_seconds`, if measured."""

    minutes: float
    step_seconds: float | None = None
    steps: int | None = None


class Scaling(NamedTuple):
    """The scaling of bytes that the user asks for; None for what fits."""

    mean: float | None = None
    std_dev: float | None = None


def batch_size(look: DataLook) -> int:
    """Returns the examples of a step: 64, or fewer of few."""
    trained = max(1, math.floor(look.counts["train"] * (1 - (0.1 if "test" in look.counts else _HELD_OUT))))
    return min(_LARGEST_BATCH, 1 << (trained.bit_length() - 1))


def document(
    look: DataLook, network: ChosenNetwork, *, data: str, table: str, model: str, budget: Budget, scaling: Scaling
) -> dict[str, Any]:
    """Returns the spec; `data`, `table` and `model` are the paths of its files as it names them ('' for none)."""
    spec: dict[str, Any] = {
        COMMENT: ["Written by `doit new`; change what you know better.", *map(_sentence, look.remarks)],
        "dataset": {COMMENT: _about_data(look), **_dataset(look, data, table)},
        **_inputs(look, network, scaling),
        **_outputs(look),
        "model": {COMMENT: f"{_title(network)}: {network.reason}.", **network.in_spec(model)},
        **_training(look, network, budget),
        "evaluate": _gates(look),
    }
    return spec


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _title(network: ChosenNetwork) -> str:
    return network.file.name if network.file else str(network.model.get("name") or network.model.get("call"))


def _about_data(look: DataLook) -> str:
    counts = ", ".join(f"{count} for {split}" for split, count in look.counts.items())
    parts = [*map(_values, look.inputs), *(f"{len(t.class_counts)} classes" for t in look.targets if t.class_counts)]
    return f"{counts}; an example has {', '.join(parts)}."


def _values(each: InputLook) -> str:
    kind = "bytes" if each.dtype == BYTES else "real values"
    return f"{'x'.join(map(str, each.shape)) or 'one'} {kind}"


def _dataset(look: DataLook, data: str, table: str) -> dict[str, Any]:
    name = look.dataset["name"]
    fields = {key: value for key, value in look.dataset.items() if key != "name"}
    return {"name": name, "path": data, **({"table": table} if table else {}), **fields}


def _inputs(look: DataLook, network: ChosenNetwork, scaling: Scaling) -> dict[str, Any]:
    fields = {
        each.name: _scaling(each, look, network, scaling) if each.dtype == BYTES else {COMMENT: _REAL, "real": True}
        for each in look.inputs
    }
    is_short = [(each.name, each.dtype) for each in look.inputs] == [(IMAGES, BYTES)]
    return {"input": fields[IMAGES]} if is_short else {"inputs": fields}


def _scaling(each: InputLook, look: DataLook, network: ChosenNetwork, scaling: Scaling) -> dict[str, Any]:
    """Returns mean and std_dev: the user's, a trained network's, or those of the data."""
    if look.network.scales:
        comment, mean, std_dev = "The network scales the bytes itself.", 0.0, 1.0
    elif network.is_trained:
        comment = "A trained network wants the scaling of its training: 0..1 is a guess, -1..1 is 127.5 and 127.5."
        mean, std_dev = 0.0, float(_BYTE)
    else:
        comment = f"The bytes that were looked at have the mean {each.mean:.1f} and the deviation {each.std:.1f}."
        mean, std_dev = round(each.mean), max(1, round(each.std))
    if scaling.mean is not None or scaling.std_dev is not None:
        comment = "As asked for."
    mean = mean if scaling.mean is None else scaling.mean
    std_dev = std_dev if scaling.std_dev is None else scaling.std_dev
    return {COMMENT: comment, "mean": _plain(mean), "std_dev": _plain(std_dev)}


def _plain(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number


def _outputs(look: DataLook) -> dict[str, Any]:
    outputs = {each.name: {"task": each.task} for each in look.targets}
    return {} if outputs in ({}, {LABELS: {"task": "classification"}}) else {"outputs": outputs}


def _training(look: DataLook, network: ChosenNetwork, budget: Budget) -> dict[str, Any]:
    if network.is_trained:
        comment = "The weights stay; ranges are measured. Should that lose accuracy: method qat, with steps of its own."
        return {"quantize": {COMMENT: comment, "method": "ptq"}}
    steps, reason = _steps(look, budget)
    train = {
        COMMENT: reason,
        "steps": steps,
        "batch_size": batch_size(look),
        "optimizer": {"name": "adam"},
        "learning_rate": {"schedule": "cosine", "initial": 0.003},
    }
    quantized = f"Fine-tuned from the float network; by default a fifth of its steps, {-(-steps // _QUANTIZED_SHARE)}."
    return {"train": train, "quantize": {COMMENT: quantized, "scheme": "uint8"}}


def _steps(look: DataLook, budget: Budget) -> tuple[int, str]:
    """Returns the steps of the float training, and why so many."""
    if budget.steps is not None:
        return budget.steps, "As many steps as asked for."
    size = batch_size(look)
    most = max(_LEAST_STEPS, math.ceil(_MOST_EPOCHS * look.counts["train"] / size))
    if budget.step_seconds is None:
        return _rounded(most), f"{_MOST_EPOCHS} passes over the data, or {_LEAST_STEPS} steps."
    all_costs = budget.step_seconds * (1 + _QUANTIZED_COST / _QUANTIZED_SHARE)
    affordable = math.floor(60 * budget.minutes / all_costs)
    steps = _rounded(max(_FEWEST_STEPS, min(most, affordable)))
    seconds = steps * all_costs
    about = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} s"  # noqa: PLR2004
    why = f"a step of {size} examples took {1000 * budget.step_seconds:.3g} ms here: about {about} for both trainings"
    if affordable < most:
        passes = steps * size / look.counts["train"]
        why += f", {passes:.2g} passes over the data; more steps may give more accuracy"
    return steps, _sentence(why)


def _rounded(steps: int) -> int:
    """Returns a number of two significant digits, not larger."""
    unit = 10 ** max(0, len(str(steps)) - 2)
    return int(steps // unit * unit)


def _gates(look: DataLook) -> dict[str, Any]:
    if not look.targets:
        return {COMMENT: "Without labels the agreement with the float network is measured.", "min_agreement": 90}
    tests = look.counts.get("test") or max(1, round(look.counts["train"] * look.dataset["test"]))
    points = round(min(100.0, max(1.0, 100 * _TESTS / tests)), 1)
    comment = "The .tflite may be a point below the float network."
    if points > 1:
        comment = (
            f"{_TESTS} of {tests} test examples are {points:g} points: the .tflite may lose so much against float."
        )
    if len(look.targets) == 1 and look.targets[0].task == "classification":
        counts = look.targets[0].class_counts.values()
        commonest = 100 * max(counts) / max(1, sum(counts))
        later = f"Add min_top1 when you know what it reaches: the commonest class alone is right in {commonest:.0f} %."
        return {COMMENT: f"{comment} {later}", "max_accuracy_drop": _plain(points)}
    prefixes = [f"{each.name}." if len(look.targets) > 1 else "" for each in look.targets]
    gates = {
        f"{prefix}{_METRICS[each.task]}": _drop(each, points)
        for prefix, each in zip(prefixes, look.targets, strict=True)
    }
    return {COMMENT: comment, "gates": gates}


def _drop(target: TargetLook, points: float) -> dict[str, float]:
    """Returns what a target's metric may lose: top1 is in points, auc and r2 go from 0 to 1."""
    return {"max_drop": _plain(points) if target.task == "classification" else round(points / 100, 3)}
