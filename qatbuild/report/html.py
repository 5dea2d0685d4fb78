"""One page for all models: accuracy, gates, sizes, latency, routes, layers. It needs no script and no other file."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

from qatbuild.report.markup import escape
from qatbuild.report.models import Found

_BAD = ("REFUSED", "FAILED", "not built", "stale")
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a7f37; --bad: #cf222e; --bar: #3b82f6; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; white-space: nowrap; } td.number, th.number { text-align: right; white-space: nowrap; }
td ul { margin: 0; padding-left: 1rem; } code { font: .9em ui-monospace, monospace; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .quiet { opacity: .7; }
pre { margin: 0; font-size: .8rem; white-space: pre-wrap; }
.wide { overflow-x: auto; } .bar { height: .8rem; background: var(--bar); border-radius: 2px; min-width: 2px; }
.bars { display: grid; grid-template-columns: max-content max-content 1fr; gap: .3rem .9rem; align-items: center; }
"""


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
_NUMBERS = range(1, 9)


def page(models: Iterable[Found]) -> str:
    """The page of some models, in the order in which they are given."""
    pieces = [piece(model) for model in models]
    return joined([row for row, _ in pieces], [section for _, section in pieces])


def piece(model: Found) -> tuple[str, str]:
    """What a page says of one model: its row of the overview, and its section."""
    report = model.report
    link = f'<a href="#{escape(model.label)}">{escape(model.label)}</a>'
    if report is None:
        return _rows([[link, *[""] * (len(_HEADS) - 2), _counted(model)]], _NUMBERS), _model(model)
    top1, agreed, size = report["top1"], report["agreement"], report["bytes"]
    latency = report.get("latency_ms", {}).get("median")
    cells = [
        link,
        *(f"{top1[kind]:.2f}" for kind in ("float", "fake_quant", "tflite")),
        f"{agreed['top1_percent']:.2f}",
        f"{agreed['max_lsb']:g}",
        f"{size['tflite']:,}",
        f"{size['ratio']:.2f} x",
        "" if latency is None else f"{latency:.3f}",
        _counted(model),
    ]
    return _rows([cells], _NUMBERS), _model(model)


def joined(rows: Sequence[str], sections: Iterable[str]) -> str:
    """A page of pieces, given as two columns."""
    overview = _framed(_HEADS, "".join(rows), _NUMBERS)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>qatbuild report</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body><h1>qatbuild: {len(rows)} model{'s' * (len(rows) != 1)}</h1>\n"
        f"{overview}{''.join(sections)}</body></html>\n"
    )


def _model(model: Found) -> str:
    report = model.report
    parts = [f'<h2 id="{escape(model.label)}">{escape(model.label)}</h2>\n']
    own = [each for each in model.failures.values() if each.block and not each.route]
    stale = '<p class="quiet">What stands below is of an earlier build.</p>\n' if own and report else ""
    parts += [f'<p class="bad">{escape(each.stage)} FAILED</p><pre>{escape(each.block)}</pre>\n' for each in own]
    parts += [f'<p class="bad">{each.stage} is {each.verdict}</p>\n' for each in model.failures.values() if each.stale]
    parts.append(stale)
    if report is None:
        return "".join(parts) + _routes(model)
    parts.append(f'<p class="quiet">{report.get("examples", 0):,} test images. {_ends(report)}</p>\n')
    parts.append("<h3>Gates</h3>" + _gates(model))
    parts.append("<h3>Sizes</h3>" + _bars(report["bytes"]))
    if latency := report.get("latency_ms"):
        parts.append("<h3>Latency</h3>" + _latencies(report.get("latencies_ms", [latency])))
    parts.append(_routes(model))
    if rows := report.get("layers"):
        parts.append("<h3>Layers, worst first</h3>" + _layers(rows))
    return "".join(parts)


def _ends(report: dict[str, Any]) -> str:
    ends = [
        f"{name} {each['dtype']} {each['shape']}, scale {each['scale']:.7g}, zero point {each['zero_point']}"
        for name in ("input", "output")
        if (each := report.get(name))
    ]
    return escape("; ".join(ends))


def _gates(model: Found) -> str:
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


def _latencies(rows: Iterable[dict[str, Any]]) -> str:
    heads = ("numbers", "kernels", "threads", "median ms", "95th percentile ms")
    keys = ("numbers", "kernels", "threads", "median", "p95")
    cells = [[escape(str(row.get(key, ""))) for key in keys] for row in rows]
    return '<p class="quiet">One image, on the machine that built it.</p>' + _table(heads, cells)


def _bars(sizes: dict[str, Any]) -> str:
    files = {name: size for name, size in sizes.items() if isinstance(size, int)}
    most = max(files.values(), default=1) or 1
    cells = "".join(
        f"<span>{escape(name.replace('_', ' '))}</span><span>{size:,} bytes</span>"
        f'<div class="bar" style="width:{100 * size / most:.1f}%"></div>'
        for name, size in files.items()
    )
    return f'<div class="bars">{cells}</div>'


def _routes(model: Found) -> str:
    rows = []
    for told in model.routes:
        compared = told["comparison"]
        remarks = [*told["notes"], *([] if compared else [told["why_not_run"]]), *told["warnings"]]
        items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
        versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
        rows.append(
            [
                f"<b>{escape(told['route'])}</b>",
                f"<code>deploy/{escape(told['route'])}/{escape(told['artifact'])}</code>",
                f"{told['bytes']:,}",
                f"{compared['top1_percent']:.2f}" if compared else "not run",
                f"{compared['max_lsb']:g}" if compared else "",
                f"{compared['examples']}" if compared else "",
                _verdict(told["verdict"]),
                f'<ul>{items}</ul><span class="quiet">{escape(versions)}</span>',
            ]
        )
    heads = ("route", "artifact", "bytes", "agreement %", "most LSB", "images", "verdict", "")
    for failure in model.failures.values():
        if failure.route:
            block = f"<pre>{escape(failure.block)}</pre>" if failure.block else ""
            verdict = _verdict("FAILED" if block else failure.verdict)
            rows.append([f"<b>{escape(failure.route)}</b>", *[""] * 5, verdict, block])
    return "<h3>Routes</h3>" + _table(heads, rows, numbers=range(2, 6)) if rows else ""


def _layers(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as they are: a key that holds others makes a column for each of them. Names of tensors are too long."""
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


def _counted(model: Found) -> str:
    gates = [gate for _, gate in model.gates]
    refused = [gate["name"] for gate in gates if not gate["passed"]]
    failed = [stage for stage, each in model.failures.items() if each.block]
    stale = [stage for stage, each in model.failures.items() if each.stale]
    told = (("FAILED", failed), ("REFUSED", refused), ("stale", stale))
    parts = [f"{word}: {', '.join(names)}" for word, names in told if names]
    return _verdict("; ".join(parts) or f"{len(gates)} of {len(gates)} passed")


def _verdict(text: str) -> str:
    return f'<span class="{"bad" if text.startswith(_BAD) else "good"}">{escape(text)}</span>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """A table of cells that are HTML already; `numbers` are the columns that stand to the right."""
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
