"""Twelve networks, each broken on purpose in one way that the diagnosis must name; SPEC alone is sound."""

from __future__ import annotations

from typing import Any, NamedTuple

TRAIN = {"steps": 200, "batch_size": 64, "learning_rate": {"initial": 0.005}, "optimizer": {"name": "adam"}}


class Broken(NamedTuple):
    """What is wrong, in which layer, and the spec; `curable`: whether a change of the spec repairs it."""

    cause: str
    layer: str
    fields: dict[str, Any]
    curable: bool = True


def _digits(light: str = "even") -> dict[str, Any]:
    return {"name": "call", "call": "data:digits", "options": {"light": light}}


def _network(fault: str) -> dict[str, Any]:
    return {"call": "networks:small", "options": {"fault": fault}}


def _ptq(**calibration: Any) -> dict[str, Any]:
    return {"method": "ptq", "scheme": "int8", "calibration": {"images": 1000, **calibration}}


SPEC: dict[str, Any] = {
    "dataset": _digits(),
    "input": {"mean": 0, "std_dev": 255},
    "model": _network(""),
    "train": TRAIN,
    "quantize": _ptq(),
    "evaluate": {"max_accuracy_drop": 1.5, "min_top1": 88, "latency_runs": 1},
}

CLOUDY: dict[str, Any] = {"dataset": _digits("cloudy"), "evaluate": {"max_accuracy_drop": 1, "latency_runs": 1}}

BROKEN = {
    "wide": Broken(
        "wide_override", "conv2", {"quantize": {**_ptq(), "overrides": [{"layer": "conv2", "range": [0, 500]}]}}
    ),
    "narrow": Broken(
        "narrow_override", "conv2", {"quantize": {**_ptq(), "overrides": [{"layer": "conv2", "range": [0, 0.2]}]}}
    ),
    "percentile": Broken("percentile", "conv1", {"quantize": _ptq(range="percentile", percentile=70)}),
    "hot": Broken(
        "learning_rate", "conv1", {"quantize": {"scheme": "int8", "steps": 60, "learning_rate": {"initial": 1.0}}}
    ),
    "flashes": Broken("outliers", "logits", {"dataset": _digits("two flashes"), "input": {"mean": 0, "std_dev": 16}}),
    "heavy": Broken("weight_channels", "conv2", {"model": _network("heavy weights")}),
    "loud": Broken("output_channels", "conv2", {"model": _network("loud channel")}),
    "unsettled": Broken(
        "batch_norm",
        "conv2",
        {"model": _network("unsettled"), "input": {"mean": 0, "std_dev": 2}, "train": {**TRAIN, "steps": 40}},
    ),
    "few-images": Broken("few_images", "conv1", {**CLOUDY, "train": {**TRAIN, "seed": 3}, "quantize": _ptq(images=1)}),
    "few-steps": Broken(
        "few_steps",
        "fc3",
        {**CLOUDY, "train": {**TRAIN, "batch_size": 4, "steps": 600}, "quantize": {"scheme": "int8", "steps": 2}},
    ),
    "dark": Broken("unlike_test", "conv1", {"dataset": _digits("dark training")}),
    "mixed": Broken(
        "mixed_ranges",
        "value",
        {
            "dataset": {"name": "call", "call": "data:two_values"},
            "outputs": {"values": {"task": "regression"}},
            "model": {"call": "networks:two_results"},
            "evaluate": {"gates": {"r2": {"max_drop": 0.1}}, "latency_runs": 1},
        },
        curable=False,
    ),
}
