"""The gates on metrics and on the agreement: the least, the greatest value, and the loss against the float network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qatbuild.exchange.facts import Agreement, Figures, Gate

_AGREEMENT = "agreement"
_DECIMALS = 4
_DIGITS = 6
_LOSS_PERCENT = 5.0
"""By default a metric that is not in percent may get worse by this part of the float network's figure."""


def gates(wanted: Mapping[str, Any], metrics: Mapping[str, Figures], agreement: Agreement) -> list[Gate]:
    """Returns the gates of the setting "evaluate", on the rounded figures of the report.

    The first metric of each output may get worse than that of the float network by `max_accuracy_drop` points, or by
    5 % if it is not in percent, where the spec does not say how much; see `without_limit`. Without labels the
    agreement with the float network is the metric; `min_agreement`, if the spec has it, is the least of that.
    """
    asked: Mapping[str, Mapping[str, Any]] = wanted["gates"]
    result: list[Gate] = []
    for name in first(metrics):
        result += _default(name, metrics[name], wanted, asked)
    for name, limits in asked.items():
        if name in metrics:
            result += _of_metric(name, metrics[name], limits)
        else:
            result.append(Gate(name, "a figure", "no figure, see the warnings", passed=False))
    if "top1" in metrics and (least := wanted["min_top1"]) is not None:
        result.append(_least("min_top1", metrics["top1"].tflite, least, " %"))
    if agreement.top1_percent is not None and (least := wanted["min_agreement"]) is not None:
        result.append(_least("min_agreement", agreement.top1_percent, least, " %"))
    return result


def without_limit(wanted: Mapping[str, Any], metrics: Mapping[str, Figures]) -> list[str]:
    """Returns a sentence for each first metric that has no gate, because 5 % of the float network's figure are 0."""
    asked: Mapping[str, Mapping[str, Any]] = wanted["gates"]
    return [
        f'{name} of the float network is 0, and has no default gate: write "gates": {{"{name}": {{"max_drop": ...}}}}.'
        for name in first(metrics)
        if _is_unlimited(metrics[name]) and (asked.get(name) or {}).get("max_drop") is None
    ]


def _is_unlimited(figures: Figures) -> bool:
    return not figures.percent and not figures.float


def first(metrics: Mapping[str, Figures]) -> list[str]:
    """Returns the name of each output's first metric that has a figure.

    A warning of the report says why one before it has none, such as the auc of test labels that are all alike.
    """
    names: dict[str, str] = {}
    for name in metrics:
        names.setdefault(name.rpartition(".")[0], name)
    return list(names.values())


def _default(
    name: str, figures: Figures, wanted: Mapping[str, Any], asked: Mapping[str, Mapping[str, Any]]
) -> Iterator[Gate]:
    if (asked.get(name) or {}).get("max_drop") is not None:
        return
    if name.rpartition(".")[2] == _AGREEMENT and wanted["min_agreement"] is not None:
        yield _least(f"{name} min", figures.tflite, wanted["min_agreement"], " %")
        return
    title = "max_accuracy_drop" if name == "top1" else f"{name} max_drop"
    if figures.percent:
        yield _drop(title, figures, wanted["max_accuracy_drop"])
    elif not _is_unlimited(figures):
        limit = float(f"{abs(figures.float) * _LOSS_PERCENT / 100:.{_DIGITS}g}")
        yield _drop(title, figures, limit)


def _of_metric(name: str, figures: Figures, limits: Mapping[str, Any]) -> Iterator[Gate]:
    unit = " %" if figures.percent else ""
    if (least := limits.get("min")) is not None:
        yield _least(f"{name} min", figures.tflite, least, unit)
    if (most := limits.get("max")) is not None:
        got = figures.tflite
        yield Gate(f"{name} max", f"at most {most}{unit}", f"{got}{unit}", passed=got <= most)
    if (drop := limits.get("max_drop")) is not None:
        yield _drop(f"{name} max_drop", figures, drop)


def _least(title: str, got: float, least: float, unit: str) -> Gate:
    return Gate(title, f"at least {least}{unit}", f"{got}{unit}", passed=got >= least)


def _drop(title: str, figures: Figures, limit: float) -> Gate:
    """Returns the gate on how much worse than the float network a metric is."""
    worse = figures.loss("float", "tflite")
    got = round(worse, _DECIMALS) if figures.percent else float(f"{worse:.{_DIGITS}g}")
    unit = " points" if figures.percent else " worse"
    return Gate(title, f"at most {limit}{unit}", f"{got}{unit}", passed=got <= limit)
