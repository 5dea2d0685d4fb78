"""The inputs and outputs of a report.json, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_IMAGE_AXES = 4
_BITS = {"uint8": (0, 255), "int8": (-128, 127)}


def examples(report: Mapping[str, Any] | None) -> str:
    """Returns what a model takes: "images", or "examples" of anything else."""
    scalings, inputs = (report or {}).get("scalings", {}), (report or {}).get("inputs", {})
    real = any(each.get("real") for each in scalings.values())
    flat = any(len(each["shape"]) != _IMAGE_AXES for each in inputs.values())
    return "examples" if real or flat else "images"


def described(report: Mapping[str, Any]) -> str:
    """Returns a sentence on each input and output: its integers, and how real values become integers."""
    return "; ".join([*_side(report, "input"), *_side(report, "output")])


def _side(report: Mapping[str, Any], side: str) -> Iterator[str]:
    ends = report.get(f"{side}s") or ({side: report[side]} if side in report else {})
    for name, end in ends.items():
        title = side if len(ends) == 1 else f"{side} {name}"
        text = f"{title} {end['dtype']} {end['shape']}, scale {end['scale']:.7g}, zero point {end['zero_point']}"
        scaling = report.get("scalings", {}).get(name, {}) if side == "input" else {}
        yield f"{text}{_of_reals(end) if scaling.get('real') else _of_bytes(scaling)}"


def _of_reals(end: Mapping[str, Any]) -> str:
    """Returns the range of an input of real values, and what a device must compute."""
    lowest, highest = ((code - end["zero_point"]) * end["scale"] for code in _BITS[end["dtype"]])
    return (
        f", real values {lowest:.4g} to {highest:.4g} as round(value / {end['scale']:.7g})"
        f" {'-' if end['zero_point'] < 0 else '+'} {abs(end['zero_point'])}"
    )


def _of_bytes(scaling: Mapping[str, Any]) -> str:
    """Returns what an input of bytes is to tools that ask for a mean and a deviation; '' if it is no such input."""
    if scaling and not isinstance(scaling["mean"], list):
        return f", real = (byte - {scaling['zero_point']}) / {scaling['std_dev']:g}{_of_channels(scaling)}"
    return _of_channels(scaling)


def _of_channels(scaling: Mapping[str, Any]) -> str:
    """Returns the order of an input's channels if it is not rgb, and their means and deviations, which layers have."""
    text = f", {scaling['order']}" if "order" in scaling else ""
    if isinstance(scaling.get("mean"), list):
        means, deviations = (", ".join(f"{each:g}" for each in scaling[name]) for name in ("mean", "std_dev"))
        text += f", the first layers with the means {means} and the deviations {deviations} of its channels"
    return text
