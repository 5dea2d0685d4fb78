"""Makes the page's data of one model: its row of the table, and parts that are shown when the model is opened.

All of it is JSON text. A part that is equal in several models, such as the training of all variants, is written once
(document.py), so that a page of a thousand models stays small.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from qatbuild.exchange.errors import printable
from qatbuild.exchange.link import Link
from qatbuild.report import ends, metrics
from qatbuild.report.failures import Failure
from qatbuild.report.models import ModelReport
from qatbuild.report.page import layers
from qatbuild.report.page.causes import causes
from qatbuild.report.page.stages import History, details, history
from qatbuild.report.published_stages import PublishedStages

_MOST_KEPT = 4096
"""Characters of a part that is kept in memory for further models."""

PICTURES = "pictures"
"""The part with the example images, which do not count as the page's text."""

_PART, _NAME = "\x1d", "\x1c"
"""Separators that no JSON text contains: between the parts of an entry, and behind the name of a part."""

compact_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""Returns a value as JSON in as few bytes as possible."""

Json = Mapping[str, Any]


class Entry(NamedTuple):
    """A model on the page: its row, and its parts, each one text that begins with its name.

    Thousands of them are joined after each build, so a part is taken apart once, however many models have it.
    """

    row: str
    parts: tuple[str, ...]

    @classmethod
    def made(cls, row: Any, parts: Mapping[str, Any]) -> Entry:
        """Makes the entry of plain data; empty parts are left out."""
        return cls(as_json(row), tuple(f"{name}{_NAME}{as_json(part)}" for name, part in parts.items() if part))

    def to_text(self) -> str:
        """Returns the entry as one text, for a cache."""
        return _PART.join([self.row, *self.parts])

    @classmethod
    def of(cls, text: str) -> Entry:
        """Makes the entry from the text of `to_text`."""
        row, *parts = text.split(_PART)
        return cls(row, tuple(parts))


def named(part: str) -> tuple[str, str]:
    """Returns the name of a part, and its JSON."""
    name, _, text = part.partition(_NAME)
    return name, text


def entry(model: ModelReport, published: PublishedStages | None = None) -> Entry:
    """Reads what belongs to a model and returns its entry. Without a report it has only failures and routes."""
    published = published or PublishedStages()
    parts = dict(_common_parts(model))
    past = History()
    if model.report is not None:
        past = history(model.home, published) if model.home else past
        parts |= dict(chain(_report_parts(model.report), _detail_parts(model, published), _stage_parts(past)))
        parts["causes"] = causes(model.report, past)
    return Entry.made(_row(model, past), parts)


def as_json(value: Any) -> str:
    """Returns a value as JSON that can stand in an HTML page's script element: hostile text stays text."""
    text = compact_json(value)
    return _harmless_once(text) if len(text) <= _MOST_KEPT else _harmless(text)


def _harmless(text: str) -> str:
    if "\\" in text or ".0" in text or not text.isprintable():
        text = compact_json(_clean(json.loads(text)))
    return text.replace("<", "\\u003c")


_harmless_once = lru_cache(maxsize=256)(_harmless)
"""For small parts, such as settings: most are those of another model, too."""


def _clean(value: Any) -> Any:
    """Returns a value whose texts have no character that moves or colours others, but line breaks; 1 instead of 1.0."""
    if isinstance(value, str):
        return printable(value, keep="\n\t")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {printable(str(name)): _clean(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value


def _row(model: ModelReport, past: History) -> dict[str, Any]:
    refused = [
        f"{where}: {gate['name']}" if where else gate["name"] for where, gate in model.gates if not gate["passed"]
    ]
    failed = [stage for stage, each in model.failures.items() if each.block]
    stale = [stage for stage in model.failures if stage not in failed]
    state = "failed" if failed else "refused" if refused else "stale" if stale else "passed"
    row: dict[str, Any] = {"label": model.label, "state": state, "why": failed or refused or stale}
    report = model.report
    if report is None:
        return row
    quantize, latency = past.settings.get("quantize", {}), report.get("latency_ms", {})
    return row | {
        "gates": len(model.gates),
        "scheme": quantize.get("scheme", ""),
        "method": quantize.get("method", ""),
        "metrics": {name: _figures(each) for name, each in metrics.figures_of(report).items()},
        "agreement": report["agreement"]["top1_percent"],
        "max_lsb": report["agreement"]["max_lsb"],
        "bytes": report["bytes"]["tflite"],
        "ratio": report["bytes"].get("ratio"),
        "latency_ms": latency.get("median"),
        "built": _built(model, past),
        "seconds": past.seconds,
    }


def _figures(each: Json) -> list[Any]:
    """Returns [float, fake-quantized, .tflite, whether less is better, whether in percent]."""
    kinds = [int(each.get("better") == "lower"), int(bool(each.get("percent")))]
    return [*(each[form] for form in metrics.FORMS), *kinds]


def _built(model: ModelReport, past: History) -> int | None:
    """Returns when the model was evaluated, or restored, in seconds since 1970; None if no file says so."""
    with contextlib.suppress(ValueError):
        return int(dt.datetime.fromisoformat(past.finished).timestamp())
    with contextlib.suppress(OSError):
        return int((model.home / "report.json").stat().st_mtime) if model.home else None
    return None


def _common_parts(model: ModelReport) -> Iterator[tuple[str, Any]]:
    yield "gate_names", [[where, gate["name"], gate["wanted"]] for where, gate in model.gates]
    yield "gate_results", [[_got(gate), int(gate["passed"])] for _, gate in model.gates]
    yield "routes", [_route(route) for route in model.routes]
    yield "failures", [_failure(each) for each in model.failures.values()]


def _failure(failure: Failure) -> dict[str, str]:
    says = "FAILED" if failure.block else f"is {failure.verdict}"
    return {"stage": failure.stage, "says": f"{failure.stage} {says}", "block": failure.block}


def _got(gate: Json) -> Any:
    """Returns what a gate got; 0 stands for just what was wanted."""
    return 0 if gate["got"] == gate["wanted"] else gate["got"]


def _route(route: Json) -> dict[str, Any]:
    compared = route["comparison"]
    return {
        "route": route["route"],
        "artifact": f"deploy/{route['route']}/{route['artifact']}",
        "bytes": route["bytes"],
        "agreement": compared["top1_percent"] if compared else None,
        "max_lsb": compared["max_lsb"] if compared else None,
        "examples": compared["examples"] if compared else None,
        "verdict": route["verdict"],
        "remarks": [*route["notes"], *([] if compared else [route["why_not_run"]])],
        "warnings": route["warnings"],
        "versions": route["versions"],
    }


def _report_parts(report: Json) -> Iterator[tuple[str, Any]]:
    yield "examples", {"count": report.get("examples", 0), "of": ends.examples(report)}
    yield "ends", [text for text in ends.described(report).split("; ") if text]
    yield "sizes", {name: size for name, size in report["bytes"].items() if isinstance(size, int)}
    yield "latencies", report.get("latencies_ms") or [report["latency_ms"]] if "latency_ms" in report else []
    agreements = report.get("agreements", {})
    yield "agreements", agreements if len(agreements) > 1 else {}
    yield "runtimes", report.get("runtimes", {})
    yield "warnings", report.get("warnings", [])


def _detail_parts(model: ModelReport, published: PublishedStages) -> Iterator[tuple[str, Any]]:
    assert model.report is not None
    more = details(model.home, published) if model.home else {}
    rows, about = model.report.get("layers", []), more.get("layers", {})
    nodes = layers.nodes(rows, about)
    yield "network", layers.network(nodes)
    yield "measures", layers.measures(nodes, rows)
    yield "more measures", layers.more_measures(nodes)
    yield "histograms", layers.histograms(nodes) if about else []
    yield "confusion", more.get("confusion")
    worst = more.get("confusions", [])
    yield "confusions", [[each["actual"], each["predicted"], each["count"]] for each in worst]
    examples = [each.get("examples", []) for each in worst]
    yield PICTURES, examples if any(examples) else []


def _stage_parts(past: History) -> Iterator[tuple[str, Any]]:
    """Yields a part for each stage and for each section of the spec: most are equal in many models."""
    for stage, link in past.links.items():
        ran, restored = past.runs.get(stage, {}), int(not link.record.ran)
        yield f"stage {stage}", [ran.get("seconds"), ran.get("peak_memory_bytes"), restored, link.record.processor]
    for stage, curve in past.curves:
        yield f"curve of {stage}", curve
    for name, value in past.settings.items():
        yield f"setting {name}", value
    if past.links:
        yield "provenance", _provenance(past.links)
        yield "identity", _identity(past.links)


def _provenance(links: Mapping[str, Link]) -> dict[str, Any]:
    packages = {name: version for link in links.values() for name, version in link.record.request.toolchain.items()}
    sources = {role: each.sha256 for link in links.values() for role, each in link.record.request.sources.items()}
    return {
        "packages": {name: version for name, version in packages.items() if version},
        "sources": sources,
        "threads": links["evaluate"].record.request.threads,
    }


def _identity(links: Mapping[str, Link]) -> dict[str, str]:
    """Returns the SHA-256 of the .tflite, and the key of its evaluation."""
    files = links["convert"].manifest.files if "convert" in links else {}
    return {"model.tflite": files.get("model.tflite", (0, ""))[1], "key": links["evaluate"].record.request.key}
