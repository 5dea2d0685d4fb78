"""The comparison of two times as a Markdown comment for a pull request, and as text for a terminal.

Equal comparisons make equal comments: they hold no clock, and latencies only where a label differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from qatbuild.exchange.errors import printable
from qatbuild.exchange.facts import Gate
from qatbuild.report import metrics
from qatbuild.report.comparison import CHANGED, NEW, REMOVED, Change, Difference, Layer, Summary
from qatbuild.report.markdown import MOST_ROWS, cell, code, fitting, folded, more, table
from qatbuild.report.metrics import FORMS

_COMMAND = "doit diff --format json"
_MOST_LAYERS = 10
_MOST_INPUTS = 10
_ARROW = "→"
_FORMS = ("float", "fake-quant", ".tflite")
_HEADS = ("label", "metric", *_FORMS, "bytes", "ms", "gates")


class Times(NamedTuple):
    """The names of both times, such as main and the working tree."""

    former: str
    now: str


def comment(times: Times, differences: Sequence[Difference], unreadable: Iterable[str] = ()) -> str:
    """Returns the Markdown of a comparison, at most markdown.LONGEST_COMMENT characters.

    `unreadable` are specs with faults. What is left out is counted; `--format json` has it.
    """
    blocks = [f"### {_title(times, differences)}"]
    if differences:
        blocks.append(table(_HEADS, map(_row, differences[:MOST_ROWS]), numbers=range(2, 7)))
        blocks += more(len(differences) - MOST_ROWS, "labels", _COMMAND)
    blocks += [f"**{code(name)} has faults: run `doit check {name}`.**" for name in unreadable]
    blocks, left_out = fitting(blocks, (_details(times, each) for each in differences))
    return "\n\n".join([*blocks, *more(left_out, "labels' details", _COMMAND)]) + "\n"


def text(times: Times, differences: Sequence[Difference]) -> str:
    """Returns a comparison for a terminal."""
    blocks = ("\n".join(_block(each)) for each in differences)
    return printable("\n".join([*blocks, _title(times, differences)]), keep="\n") + "\n"


def _title(times: Times, differences: Sequence[Difference]) -> str:
    counts = [
        f"{count} {fate}"
        for fate in (CHANGED, NEW, REMOVED)
        if (count := sum(each.fate == fate for each in differences))
    ]
    return f"qatbuild: {', '.join(counts) or 'no label differs'}, from {times.former} to {times.now}"


def _row(each: Difference) -> list[str]:
    fate = "" if each.fate == CHANGED else f" ({each.fate})"
    shown = each.former if each.fate == REMOVED else each.now
    verdict = _changed(each.former.verdict, each.now.verdict, each.fate)
    name = next(iter(shown.metrics or each.former.metrics), "")
    return [
        f"{code(each.label)}{fate}",
        cell(name),
        *map(cell, _figures(each, name)),
        cell(_bytes(each)),
        cell(_changed(_ms(each.former), _ms(each.now), each.fate)),
        cell("; ".join(filter(None, (verdict, *_remarks(each))))),
    ]


def _remarks(each: Difference) -> Iterator[str]:
    """Yields why results are missing or not quite those of the time, at the times at which the label exists."""
    times = [("before: ", each.former)] if each.fate != NEW else []
    times += [("", each.now)] if each.fate != REMOVED else []
    if each.fate == CHANGED and each.former.missing == each.now.missing:
        yield from each.now.missing
        times = [(when, side._replace(missing=())) for when, side in times]
    for when, side in times:
        yield from (f"{when}{reason}" for reason in side.missing)
        if side.unlike:
            yield f"{when}made otherwise, {', '.join(side.unlike)}"


def _figures(each: Difference, name: str) -> Iterator[str]:
    """Yields the figures of a metric, one for each of FORMS; with the difference, where it is of the .tflite."""
    before, after = (side.texts.get(name) for side in (each.former, each.now))
    for column, form in enumerate(FORMS):
        former, now = ("" if side is None else side.texts[column] for side in (before, after))
        gain = ""
        if form == FORMS[-1] and before and after and former != now:
            values = (side.metrics[name][form] for side in (each.now, each.former))
            gain = f" ({_signed(next(values) - next(values), percent=bool(each.now.metrics[name].get('percent')))})"
        yield _changed(former, now, each.fate) + gain


def _signed(value: float, *, percent: bool) -> str:
    return f"{value:+.2f}" if percent else f"{value:+.3g}"


def _bytes(each: Difference) -> str:
    before, after = (side.bytes for side in (each.former, each.now))
    former, now = ("" if value is None else f"{value:,}" for value in (before, after))
    change = _changed(former, now, each.fate)
    return f"{change} ({100 * (after - before) / before:+.1f} %)" if before and after and before != after else change


def _ms(side: Summary) -> str:
    return "" if side.latency_ms is None else f"{side.latency_ms:.3f}"


def _changed(former: str, now: str, fate: str = CHANGED) -> str:
    """Returns both texts with an arrow; one of them, if they are equal or the label is at one time only."""
    if fate == NEW or former == now:
        return now
    return former if fate == REMOVED else f"{former or '-'} {_ARROW} {now or '-'}"


def _details(times: Times, each: Difference) -> str:
    """Returns the folded part of a label; '' if the row says all."""
    blocks = [*_spec_part(times, each), *_metrics_part(each), *_gates_part(each), *_layers_part(each)]
    return folded(each.label, blocks)


def _spec_part(times: Times, each: Difference) -> Iterator[str]:
    rows = [[code(change.name), *map(code, change.texts)] for change in each.fields]
    if rows:
        yield table(("field", times.former, times.now), rows)
    if each.inputs:
        inputs = [*map(code, each.inputs[:_MOST_INPUTS]), *more(len(each.inputs) - _MOST_INPUTS, "inputs", _COMMAND)]
        yield f"Other inputs: {', '.join(inputs)}"


def _metrics_part(each: Difference) -> Iterator[str]:
    """Yields the metrics after the first one, which is in the row, and the agreement."""
    names = list(dict.fromkeys([*each.former.metrics, *each.now.metrics]))[1:]
    rows = [[cell(name), *map(cell, _figures(each, name))] for name in names]
    former, now = each.former.agreement_percent, each.now.agreement_percent
    if None not in (former, now) and former != now:
        rows.append(["agreement %", "", "", f"{metrics.percent(former)} {_ARROW} {metrics.percent(now)}"])
    if rows:
        yield table(("metric", *_FORMS), rows, numbers=range(1, 4))


def _gates_part(each: Difference) -> Iterator[str]:
    """Yields the gates that are refused, or were."""
    before = {gate.name: gate for gate in each.former.gates}
    after = {gate.name: gate for gate in each.now.gates}
    rows = []
    for name in dict.fromkeys([*before, *after]):
        gates = [side.get(name) for side in (before, after)]
        if any(gate and not gate.passed for gate in gates):
            former, now = (f"{gate.got}, {_verdict(gate)}" if gate else "" for gate in gates)
            rows.append([cell(name), cell(_changed(former, now))])
    if rows:
        yield table(("gate", "got"), rows)


def _verdict(gate: Gate) -> str:
    return "passed" if gate.passed else f"REFUSED, wanted {gate.wanted}"


def _layers_part(each: Difference) -> Iterator[str]:
    if each.layers:
        rows = [[code(layer.name), cell(layer.operator), cell(_measures(layer))] for layer in each.layers]
        yield table(("layer", "operator", "changed"), rows[:_MOST_LAYERS])
        yield from more(len(rows) - _MOST_LAYERS, "layers", _COMMAND)


def _measures(layer: Layer) -> str:
    if layer.fate != CHANGED:
        return layer.fate
    return ", ".join(
        f"{change.name} {_number(change.former)} {_ARROW} {_number(change.now)}" for change in layer.measures
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _block(each: Difference) -> Iterator[str]:
    """Yields the lines of a label for a terminal."""
    yield f"{each.label}  {each.fate}"
    rows: list[tuple[str, str]] = [(change.name, _arrowed(change)) for change in each.fields]
    rows += [("input", text) for text in each.inputs]
    names = dict.fromkeys([*each.former.metrics, *each.now.metrics])
    rows += [
        (name, "  ".join(f"{form} {figure}" for form, figure in zip(_FORMS, _figures(each, name), strict=True)))
        for name in names
    ]
    rows += [("bytes", _bytes(each)), ("ms", _changed(_ms(each.former), _ms(each.now), each.fate))]
    rows.append(("gates", _changed(each.former.verdict, each.now.verdict, each.fate)))
    rows += [("note", remark) for remark in _remarks(each)]
    rows += [(f"layer {layer.name}", _measures(layer)) for layer in each.layers]
    shown = [row for row in rows if row[1]]
    width = max((len(title) for title, _ in shown), default=0)
    yield from (f"  {title:<{width}}  {value}" for title, value in shown)


def _arrowed(change: Change) -> str:
    return _changed(*change.texts)
