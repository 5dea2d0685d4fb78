"""The HTML page of all models: accuracy, gates, sizes, latency, routes, layers; one file without scripts."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from qatbuild.report import ends, metrics
from qatbuild.report.markup import escape
from qatbuild.report.models import ModelReport

_BAD = ("REFUSED", "FAILED", "not built", "stale")
TEMPLATE = Path(__file__).with_name("page.html")
"""The page's frame and style: a string.Template with $title, $overview and $sections."""

_METRIC = '<span class="metric">{} </span>'
"""The name of a model's first metric, which the overview shows if it is not the top-1 of all models."""

_HEADS = (
    "model",
    "top-1 float %",
    "fake-quant %",
    ".tflite %",
    "agreement %",
    "most LSB",
    "bytes",
    "smaller",
    "ms",
    "gates",
)
_HEADS_OF_METRICS = ("model", "float", "fake-quant", ".tflite", *_HEADS[4:])
_NUMBERS = range(1, 9)


def page(models: Iterable[ModelReport]) -> str:
    """Returns the page of these models, in their order."""
    pieces = [piece(model) for model in models]
    return joined([row for row, _ in pieces], [section for _, section in pieces])


def piece(model: ModelReport) -> tuple[str, str]:
    """Returns the parts of one model: (its row of the overview, its section)."""
    report = model.report
    link = f'<a href="#{escape(model.label)}">{escape(model.label)}</a>'
    if report is None:
        return _rows([[link, *[""] * (len(_HEADS) - 2), _counted(model)]], _NUMBERS), _model(model)
    agreed, size, first = report["agreement"], report["bytes"], metrics.first(report)
    latency = report.get("latency_ms", {}).get("median")
    cells = [
        link,
        _METRIC.format(escape(first.title)) + first.texts[0],
        *first.texts[1:],
        metrics.percent(agreed["top1_percent"]),
        f"{agreed['max_lsb']:g}",
        f"{size['tflite']:,}",
        f"{size['ratio']:.2f} x",
        "" if latency is None else f"{latency:.3f}",
        _counted(model),
    ]
    return _rows([cells], _NUMBERS), _model(model)


def joined(rows: Sequence[str], sections: Iterable[str]) -> str:
    """Returns a page from the rows of its overview and the sections of its models."""
    title = f"qatbuild: {len(rows)} model{'s' * (len(rows) != 1)}"
    metric, top1 = _METRIC.partition("{}")[0], _METRIC.format("top1")
    if all(metric not in row or top1 in row for row in rows):
        overview = _framed(_HEADS, "".join(rows), _NUMBERS)
    else:
        overview = f'<div class="named">{_framed(_HEADS_OF_METRICS, "".join(rows), _NUMBERS)}</div>'
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=title, overview=overview, sections="".join(sections))


def _model(model: ModelReport) -> str:
    report = model.report
    parts = [f'<h2 id="{escape(model.label)}">{escape(model.label)}</h2>\n']
    own = [each for each in model.failures.values() if each.block and not each.route]
    stale = '<p class="quiet">The results below are of an earlier build.</p>\n' if own and report else ""
    parts += [f'<p class="bad">{escape(each.stage)} FAILED</p><pre>{escape(each.block)}</pre>\n' for each in own]
    parts += [f'<p class="bad">{each.stage} is {each.verdict}</p>\n' for each in model.failures.values() if each.stale]
    parts.append(stale)
    if report is None:
        return "".join(parts) + _routes(model)
    what = ends.examples(report)
    parts.append(f'<p class="quiet">{report.get("examples", 0):,} test {what}. {escape(ends.described(report))}</p>\n')
    parts += [f'<p class="bad">{escape(warning)}</p>\n' for warning in report.get("warnings", ())]
    parts.append(_metrics(report))
    parts.append("<h3>Gates</h3>" + _gates(model))
    parts.append("<h3>Sizes</h3>" + _bars(report["bytes"]))
    if latency := report.get("latency_ms"):
        parts.append("<h3>Latency</h3>" + _latencies(report.get("latencies_ms", [latency]), what))
    parts.append(_routes(model))
    if rows := report.get("layers"):
        parts.append("<h3>Layers, worst first</h3>" + _layers(rows))
    return "".join(parts)


def _metrics(report: dict[str, Any]) -> str:
    """Returns a table of all metrics, and of the agreement of several outputs; '' for what the overview says."""
    rows = [[escape(each.title), *each.texts] for each in metrics.of(report)]
    text = ""
    if len(rows) > 1:
        heads = ("metric", "float", "fake-quant", ".tflite")
        text = "<h3>Metrics</h3>" + _table(heads, rows, numbers=range(1, 4))
    agreements = report.get("agreements", {})
    if len(agreements) > 1:
        cells = [
            [escape(name), metrics.percent(each["top1_percent"]), f"{each['max_lsb']:g}", f"{each['rmse_lsb']:g}"]
            for name, each in agreements.items()
        ]
        heads = ("output", "agreement %", "most LSB", "rmse LSB")
        text += "<h3>Agreement</h3>" + _table(heads, cells, numbers=range(1, 4))
    return text


def _gates(model: ModelReport) -> str:
    rows = [
        [
            escape(f"{where}: {gate['name']}" if where else gate["name"]),
            escape(str(gate["wanted"])),
            escape(str(gate["got"])),
            _verdict("passed" if gate["passed"] else "REFUSED"),
        ]
        for where, gate in model.gates
    ]
    return _table(("gate", "wanted", "got", ""), rows)


def _latencies(rows: Iterable[dict[str, Any]], examples: str) -> str:
    heads = ("numbers", "kernels", "threads", "median ms", "95th percentile ms")
    keys = ("numbers", "kernels", "threads", "median", "p95")
    cells = [[escape(str(row.get(key, ""))) for key in keys] for row in rows]
    one = f'<p class="quiet">One {examples.removesuffix("s")}, on the machine that built it.</p>'
    return one + _table(heads, cells)


def _bars(sizes: dict[str, Any]) -> str:
    files = {name: size for name, size in sizes.items() if isinstance(size, int)}
    most = max(files.values(), default=1) or 1
    cells = "".join(
        f"<span>{escape(name.replace('_', ' '))}</span><span>{size:,} bytes</span>"
        f'<div class="bar" style="width:{100 * size / most:.1f}%"></div>'
        for name, size in files.items()
    )
    return f'<div class="bars">{cells}</div>'


def _routes(model: ModelReport) -> str:
    rows = []
    for route in model.routes:
        compared = route["comparison"]
        remarks = [*route["notes"], *([] if compared else [route["why_not_run"]]), *route["warnings"]]
        items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
        versions = ", ".join(f"{name} {version}" for name, version in route["versions"].items())
        rows.append(
            [
                f"<b>{escape(route['route'])}</b>",
                f"<code>deploy/{escape(route['route'])}/{escape(route['artifact'])}</code>",
                f"{route['bytes']:,}",
                metrics.percent(compared["top1_percent"]) if compared else "not run",
                f"{compared['max_lsb']:g}" if compared else "",
                f"{compared['examples']}" if compared else "",
                _verdict(route["verdict"]),
                f'<ul>{items}</ul><span class="quiet">{escape(versions)}</span>',
            ]
        )
    heads = ("route", "artifact", "bytes", "agreement %", "most LSB", ends.examples(model.report), "verdict", "")
    for failure in model.failures.values():
        if failure.route:
            block = f"<pre>{escape(failure.block)}</pre>" if failure.block else ""
            verdict = _verdict("FAILED" if block else failure.verdict)
            rows.append([f"<b>{escape(failure.route)}</b>", *[""] * 5, verdict, block])
    return "<h3>Routes</h3>" + _table(heads, rows, numbers=range(2, 6)) if rows else ""


def _layers(rows: Sequence[dict[str, Any]]) -> str:
    """Returns a table with a column for each key of the rows, except names of tensors; nested objects are flattened."""
    flat = [dict(_flattened({key: value for key, value in row.items() if key != "partner"})) for row in rows]
    heads = list(dict.fromkeys(key for row in flat for key in row))
    cells = [[escape("" if row.get(key) is None else str(row[key])) for key in heads] for row in flat]
    numbers = [column for column, key in enumerate(heads) if any(isinstance(row.get(key), int | float) for row in flat)]
    return _table([key.replace("_", " ") for key in heads], cells, numbers=numbers)


def _flattened(row: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in row.items():
        if isinstance(value, dict):
            yield from ((f"{key} {inner}", each) for inner, each in value.items())
        else:
            yield key, value


def _counted(model: ModelReport) -> str:
    gates = [gate for _, gate in model.gates]
    refused = [gate["name"] for gate in gates if not gate["passed"]]
    failed = [stage for stage, each in model.failures.items() if each.block]
    stale = [stage for stage, each in model.failures.items() if each.stale]
    verdicts = (("FAILED", failed), ("REFUSED", refused), ("stale", stale))
    parts = [f"{word}: {', '.join(names)}" for word, names in verdicts if names]
    return _verdict("; ".join(parts) or f"{len(gates)} of {len(gates)} passed")


def _verdict(text: str) -> str:
    return f'<span class="{"bad" if text.startswith(_BAD) else "good"}">{escape(text)}</span>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Returns a table of cells that contain HTML; `numbers` are the columns to align right."""
    numbers = set(numbers)
    return _framed(heads, _rows(rows, numbers), numbers)


def _rows(rows: Iterable[Sequence[str]], numbers: Container[int]) -> str:
    return "".join(f"<tr>{_line('td', row, numbers)}</tr>\n" for row in rows)


def _framed(heads: Sequence[str], rows: str, numbers: Container[int]) -> str:
    head = _line("th", list(map(escape, heads)), numbers)
    return f'<div class="wide"><table><tr>{head}</tr>\n{rows}</table></div>\n'


def _line(tag: str, cells: Sequence[str], numbers: Container[int]) -> str:
    kinds = [' class="number"' if column in numbers else "" for column in range(len(cells))]
    return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
