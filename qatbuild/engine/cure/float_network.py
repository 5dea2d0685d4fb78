"""What the float network itself misses of what the gates want: no way to quantize it gives that back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qatbuild.schema.model import Evaluate, Gate


def lacks(report: Mapping[str, Any], evaluate: Evaluate) -> str:
    """Returns in words which figures of the float network are beyond the gates' limits; '' if it has none."""
    metrics: Mapping[str, Mapping[str, Any]] = report.get("metrics", {})
    return "; ".join(
        f"its {name} is {metrics[name]['float']:g}, wanted is {limit}"
        for name, gate in _gates(evaluate)
        if name in metrics
        for limit in _missed(metrics[name]["float"], gate)
    )


def _gates(evaluate: Evaluate) -> Iterator[tuple[str, Gate]]:
    yield from evaluate.gates.items()
    if evaluate.min_top1 is not None:
        yield "top1", Gate(min=evaluate.min_top1)


def _missed(figure: float, gate: Gate) -> Iterator[str]:
    if gate.min is not None and figure < gate.min:
        yield f"at least {gate.min:g}"
    if gate.max is not None and figure > gate.max:
        yield f"at most {gate.max:g}"
