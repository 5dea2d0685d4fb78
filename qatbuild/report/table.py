"""The closing table of a build: one row per model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from qatbuild.exchange.errors import printable
from qatbuild.exchange.files import read_json
from qatbuild.report import metrics
from qatbuild.report.failures import Failure

_HEAD = (
    ("", "top-1 %", "top-1 %", "top-1 %", "agreement", "most", "bytes", "x", ""),
    ("model", "float", "fake-quant", ".tflite", "%", "LSB", ".tflite", "smaller", "gates"),
)
_HEAD_OF_METRICS = (
    ("", "", "", "", "", "agreement", "most", "bytes", "x", ""),
    ("model", "metric", "float", "fake-quant", ".tflite", "%", "LSB", ".tflite", "smaller", "gates"),
)


def table(reports: Iterable[Path], build: Path) -> str:
    """Returns the table of these report.json files below `build`; '' without files.

    If they are not all classifications, it names the metric of each model, which is its first one. Below it each
    warning about a model, and the path of each accepted model.
    """
    read = [(path, read_json(path)) for path in reports]
    if not read:
        return ""
    firsts = [metrics.first(report) for _, report in read]
    plain = all(each.is_top1 for each in firsts)
    head = _HEAD if plain else _HEAD_OF_METRICS
    rows = [_row(report, first, named=not plain) for (_, report), first in zip(read, firsts, strict=True)]
    lines = aligned((*head, *rows), left={0, len(head[0]) - 1} | (set() if plain else {1}))
    lines += [f"{report['label']}: {warning}" for _, report in read for warning in report.get("warnings", ())]
    lines += [
        f"{(path.parent / 'model.tflite').relative_to(build.parent)}" for path, report in read if not _failed(report)
    ]
    return "\n".join(lines) + "\n"


def routes(paths: Iterable[Path], failures: Iterable[Failure] = ()) -> str:
    """Returns the table of these route.json files and failed routes, each warning once below it; '' without any."""
    read = [read_json(path) for path in paths]
    failed = [(each.key, "-", "-", "-", each.verdict) for each in failures]
    if not read and not failed:
        return ""
    head = ("route", "bytes", "agreement %", "most LSB", "verdict")
    rows = sorted([*(_route(each) for each in read), *failed])
    lines = aligned((head, *rows), left={0, len(head) - 1})
    lines += dict.fromkeys(printable(f"{each['route']}: {warning}") for each in read for warning in each["warnings"])
    return "\n".join(lines) + "\n"


def _route(route: dict[str, Any]) -> tuple[str, ...]:
    compared = route["comparison"]
    figures = (metrics.percent(compared["top1_percent"]), f"{compared['max_lsb']:g}") if compared else ("not run", "-")
    verdict = "; ".join((route["verdict"], *route["notes"]))
    return (f"{route['label']}:deploy.{route['route']}", f"{route['bytes']:,}", *figures, verdict)


def aligned(rows: Sequence[Sequence[str]], left: set[int]) -> list[str]:
    """Returns lines from rows of equal length; columns in `left` are aligned left, the others right."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [_line(row, widths, left) for row in cells]


def _row(report: dict[str, Any], first: metrics.Metric, *, named: bool) -> tuple[str, ...]:
    agreement, size = report["agreement"], report["bytes"]
    failed = _failed(report)
    gates = f"REFUSED: {', '.join(failed)}" if failed else f"{len(report['gates'])} of {len(report['gates'])} passed"
    return (
        report["label"],
        *([first.title] if named else []),
        *first.texts,
        metrics.percent(agreement["top1_percent"]),
        f"{agreement['max_lsb']:g}",
        f"{size['tflite']:,}",
        f"{size['ratio']:.2f}",
        gates,
    )


def _failed(report: dict[str, Any]) -> list[str]:
    return [gate["name"] for gate in report["gates"] if not gate["passed"]]


def _line(row: Sequence[str], widths: Sequence[int], left: set[int]) -> str:
    cells = (
        cell.ljust(width) if column in left else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
