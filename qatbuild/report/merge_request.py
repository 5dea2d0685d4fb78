"""All models as Markdown, for the description of a pull or merge request and for a CI job's summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qatbuild.report.comparison import Model, Summary
from qatbuild.report.layers import layer_table
from qatbuild.report.markdown import MOST_ROWS, cell, code, fenced, fitting, folded, more, table
from qatbuild.report.models import ModelReport

_HEADS = ("model", "metric", "float", "fake-quant", ".tflite", "agreement %", "bytes", "ms", "verdict")
_COMMAND = "doit report --format json"
_WORST = 5


def markdown(models: Sequence[ModelReport]) -> str:
    """Returns a table of the models, those that did not pass first, and a folded part for each of these.

    It fits into a comment, LONGEST_COMMENT characters: what is left out is counted. Equal results make equal texts but
    for latencies.
    """
    wrong = [model for model in models if not model.passed]
    count = f"{len(models)} model{'s' * (len(models) != 1)}"
    rows = sorted(models, key=lambda model: model.passed)
    blocks = [f"### qatbuild: {count}, {len(wrong) or 'none'} not passed"]
    blocks.append(table(_HEADS, map(_row, rows[:MOST_ROWS]), numbers=range(2, 8)))
    blocks += more(len(rows) - MOST_ROWS, "models", _COMMAND)
    blocks, left_out = fitting(blocks, (folded(model.label, _details(model)) for model in wrong))
    return "\n\n".join([*blocks, *more(left_out, "models' details", _COMMAND)]) + "\n"


def _row(model: ModelReport) -> list[str]:
    return [code(model.label), *map(cell, (*_summary(model).cells, model.verdict))]


def _details(model: ModelReport) -> Iterator[str]:
    """Yields the parts about what is wrong with a model: refused gates, its worst layers, errors of stages."""
    refused = [gate for gate in _summary(model).gates if not gate.passed]
    if refused:
        yield table(("refused by", "wanted", "got"), ([cell(str(text)) for text in gate[:3]] for gate in refused))
        if layers := layer_table(model.report or {}, _WORST):
            yield fenced(layers)
    for failure in model.failures.values():
        yield cell(f"{failure.key} {failure.verdict}")
        if failure.block:
            yield fenced(failure.block)


def _summary(model: ModelReport) -> Summary:
    return Summary.of(Model.of(model, {}))
