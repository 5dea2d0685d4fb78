"""The rules of `evaluate`: gates name metrics that the outputs have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qatbuild.schema.faults import Fault
from qatbuild.schema.nearest import suggest
from qatbuild.schema.rules.reading import at, number, outputs_of
from qatbuild.schema.tasks import LARGEST, metrics_of

_LIMITS = {"max_accuracy_drop": "max_drop", "min_top1": "min", "min_agreement": "max_drop"}
"""Gate of a classification -> the limit of `gates` that takes its place for another metric."""


def violations(document: Any) -> Iterator[Fault]:
    """Yields a fault for each violated rule of the gates."""
    yield from _of_classes(document)
    gates = at(document, "evaluate", "gates")
    names = metric_names(outputs_of(document))
    for name, gate in gates.items() if isinstance(gates, dict) else ():
        path = ("evaluate", "gates", name)
        if names and name not in names:
            yield Fault(path, f"is no metric of the outputs: {', '.join(names)}.{suggest(name, names)}")
        low, high = at(gate, "min"), at(gate, "max")
        if number(low) and number(high) and low > high:
            yield Fault(path, f"must have min <= max; got {low} and {high}.")
        yield from _unreachable(document, name, low)


def _unreachable(document: Any, name: str, low: Any) -> Iterator[Fault]:
    """Yields a fault for a least value that a metric never has: percent of a fraction, mostly."""
    output, _, metric = name.rpartition(".")
    part = at(document, "outputs", output) if output else next(iter(outputs_of(document).values()), None)
    largest = LARGEST.get(metric) if at(part, "task") != "call" else None
    if largest is not None and number(low) and low > largest:
        yield Fault(("evaluate", "gates", name, "min"), f"{metric} is at most {largest}; got {low}.")


def metric_names(outputs: dict[str, dict[str, Any]]) -> list[str]:
    """Returns the names of all metrics: of one output METRIC, of several OUTPUT.METRIC."""
    if len(outputs) == 1:
        return [metric for output in outputs.values() for metric in metrics_of(output)]
    return [f"{name}.{metric}" for name, output in outputs.items() for metric in metrics_of(output)]


def _of_classes(document: Any) -> Iterator[Fault]:
    outputs = outputs_of(document)
    classified = [name for name, output in outputs.items() if output.get("task") == "classification"]
    names = metric_names(outputs)
    if len(classified) == 1 or not names or at(document, "dataset", "labels") is False:
        return  # Without labels the agreement is the metric of every task: see the rules of unlabelled.
    metric = f"{classified[0]}.top1" if classified else names[0]
    for field, limit in _LIMITS.items():
        if at(document, "evaluate", field) is not None:
            gate = f'"gates": {{"{metric}": {{"{limit}": ...}}}}'
            yield Fault(("evaluate", field), f"needs one classification, got {len(classified)}: write {gate}.")
