"""Compares the models of a project at two times, label by label: spec, metrics, sizes, latency, layers, gates.

The values are those of report.json and route.json, so that scripts can compute with them; comment.py shows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from qatbuild.exchange.errors import printable
from qatbuild.exchange.facts import Gate
from qatbuild.exchange.files import canonical_json
from qatbuild.report import metrics
from qatbuild.report.metrics import Metric
from qatbuild.report.models import ModelReport
from qatbuild.schema.diagnostics import pointer

CHANGED, NEW, REMOVED = "changed", "new", "removed"

_MEASURES = ("sqnr_db", "max_lsb", "codes_used_percent", "saturated_percent")
_LONGEST_VALUE = 120


class Model(NamedTuple):
    """A label's whole spec at one time, and its results: report.json, route.json by route, why others are missing.

    `unlike` says in what the shown results are unlike those that this time would make, such as other packages.
    """

    spec: Mapping[str, Any] = {}
    report: Mapping[str, Any] | None = None
    routes: Mapping[str, Mapping[str, Any]] = {}
    missing: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    @classmethod
    def of(cls, results: ModelReport, spec: Mapping[str, Any]) -> Model:
        """Returns the model of a build folder's results."""
        missing = tuple(f"{each.key} {each.verdict}" for each in results.failures.values())
        if results.report is None and not missing:
            missing = (f"{results.label} is not built",)
        return cls(spec, results.report, {route["route"]: route for route in results.routes}, missing)


class Summary(NamedTuple):
    """What a comparison shows of one model; without a report, only `missing`, and the gates of routes.

    `metrics` has float, fake-quantized and .tflite figures by name; `gates` also those of the routes, with their names
    before them.
    """

    metrics: Mapping[str, Mapping[str, Any]] = {}
    agreement_percent: float | None = None
    bytes: int | None = None
    latency_ms: float | None = None
    gates: tuple[Gate, ...] = ()
    missing: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Model) -> Summary:
        """Summarizes a model."""
        report = model.report
        gates = [Gate.of(gate) for gate in report["gates"]] if report is not None else []
        for route, about in model.routes.items():
            gates += [Gate.of({**gate, "name": f"{route}: {gate['name']}"}) for gate in about["gates"]]
        if report is None:
            return cls(gates=tuple(gates), missing=model.missing, unlike=model.unlike)
        return cls(
            metrics.figures_of(report),
            report["agreement"]["top1_percent"],
            report["bytes"]["tflite"],
            report.get("latency_ms", {}).get("median"),
            tuple(gates),
            model.missing,
            model.unlike,
        )

    @property
    def texts(self) -> dict[str, Metric]:
        """The figures of each metric as texts, by name."""
        return {each.name: each for each in metrics.of({"metrics": self.metrics})}

    @property
    def cells(self) -> tuple[str, ...]:
        """The first metric's name and figures, agreement in percent, bytes and milliseconds as texts; '' for none."""
        first = next(iter(self.texts.values()), Metric("", ("",) * len(metrics.FORMS)))
        return (
            first.name,
            *first.texts,
            "" if self.agreement_percent is None else metrics.percent(self.agreement_percent),
            "" if self.bytes is None else f"{self.bytes:,}",
            "" if self.latency_ms is None else f"{self.latency_ms:.3f}",
        )

    @property
    def verdict(self) -> str:
        """The verdict of all gates in words; '' without any."""
        refused = [gate.name for gate in self.gates if not gate.passed]
        if not self.gates:
            return ""
        return f"REFUSED: {', '.join(refused)}" if refused else f"{len(self.gates)} of {len(self.gates)} passed"

    def to_json(self) -> dict[str, Any]:
        """Returns the summary as plain data."""
        return {**self._asdict(), "gates": [gate.to_json() for gate in self.gates]}


class Change(NamedTuple):
    """A value at both times, None where it is absent: a field of the spec by its JSON pointer, or a measure."""

    name: str
    former: Any
    now: Any

    @property
    def texts(self) -> tuple[str, str]:
        """Both values as JSON on one printable line; '' for None."""
        former, now = (
            "" if value is None else printable(canonical_json(value), _LONGEST_VALUE)
            for value in (self.former, self.now)
        )
        return former, now


class Layer(NamedTuple):
    """A layer whose measures changed, or that is at one time only."""

    name: str
    operator: str
    fate: str
    measures: tuple[Change, ...]


class Difference(NamedTuple):
    """A label that differs: the fields of its spec, its other inputs in words, and what came out of them."""

    label: str
    fate: str
    fields: tuple[Change, ...]
    inputs: tuple[str, ...]
    former: Summary
    now: Summary
    layers: tuple[Layer, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the difference as plain data."""
        return {
            "label": self.label,
            "fate": self.fate,
            "fields": [_plain(change, "pointer") for change in self.fields],
            "inputs": list(self.inputs),
            "former": None if self.fate == NEW else self.former.to_json(),
            "now": None if self.fate == REMOVED else self.now.to_json(),
            "layers": [
                {**layer._asdict(), "measures": [_plain(change, "measure") for change in layer.measures]}
                for layer in self.layers
            ],
        }


def difference(label: str, former: Model | None, now: Model | None, inputs: Iterable[str]) -> Difference:
    """Compares a label's models, None at a time without the label. `inputs` names what changed besides its spec."""
    fate = NEW if former is None else REMOVED if now is None else CHANGED
    before, after = former or Model(), now or Model()
    fields = tuple(_fields(before.spec, after.spec, ())) if fate == CHANGED else ()
    layers: tuple[Layer, ...] = ()
    if before.report is not None and after.report is not None:
        layers = tuple(_layers(before.report.get("layers", ()), after.report.get("layers", ())))
    return Difference(label, fate, fields, tuple(inputs), Summary.of(before), Summary.of(after), layers)


def _fields(former: Any, now: Any, path: tuple[str, ...]) -> Iterator[Change]:
    """Yields the fields that differ. A field that is null equals one that is absent."""
    if isinstance(former, Mapping) and isinstance(now, Mapping):
        for name in sorted({*former, *now}):
            yield from _fields(former.get(name), now.get(name), (*path, name))
    elif canonical_json(former) != canonical_json(now):
        yield Change(pointer(path), former, now)


def _layers(former: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[Layer]:
    """Yields the layers that differ, in the order of the present report, which is worst first; then those gone."""
    before, after = _by_name(former), _by_name(now)
    for key, row in after.items():
        measures = tuple(_measures(before.get(key, {}), row))
        if measures:
            yield Layer(key[0], key[1], CHANGED if key in before else NEW, measures)
    for key, row in before.items():
        if key not in after:
            yield Layer(key[0], key[1], REMOVED, tuple(_measures(row, {})))


def _by_name(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, int], Mapping[str, Any]]:
    """Returns rows by name, operator and, where these repeat, number."""
    seen = Counter[tuple[str, str]]()
    result = {}
    for row in rows:
        key = (row["name"] or "?", row["operator"])
        result[*key, seen[key]] = row
        seen[key] += 1
    return result


def _measures(former: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Change]:
    before, after = dict(_flat(former)), dict(_flat(now))
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield Change(name, before.get(name), after.get(name))


def _flat(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in _MEASURES:
        value = row.get(name)
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        elif value is not None:
            yield name, value


def _plain(change: Change, name: str) -> dict[str, Any]:
    return {name: change.name, "former": change.former, "now": change.now}
