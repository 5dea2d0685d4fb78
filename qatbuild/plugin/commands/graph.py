"""`doit graph`: prints the stages and their dependencies, as a drawing or for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from qatbuild.engine.forecast import needed
from qatbuild.engine.plan import Stage
from qatbuild.plugin.commands.command import SpecCommand, write_faults, write_json
from qatbuild.plugin.commands.option import format_option
from qatbuild.plugin.session import Session


class Graph(SpecCommand):
    """Prints the graph of stages in one of three formats."""

    name = "graph"
    doc_purpose = "print the graph of stages as dot, mermaid or JSON"
    doc_usage = "[--format dot|mermaid|json] [LABEL[:STAGE]] ..."
    doc_description = (
        "An arrow leads from a stage to a stage that depends on it; a dashed arrow is an order without an artifact."
    )
    cmd_options = (format_option({"dot": "Graphviz", "mermaid": "Mermaid", "json": "JSON"}, "language"),)

    def run(self, session: Session, options: Any, names: list[str]) -> int:
        """Prints the graph; returns 1 if specs with faults are left out."""
        stages = list(needed(session.plan, session.select(names)))
        if options["format"] == "json":
            write_json(
                {"stages": [{**_fields(stage), "labels": list(map(session.task, stage.labels))} for stage in stages]}
            )
        else:
            lines = _dot(stages) if options["format"] == "dot" else _mermaid(stages)
            sys.stdout.writelines(f"{line}\n" for line in lines)
        return write_faults(session, names)


def _fields(stage: Stage) -> dict[str, Any]:
    return {
        "id": stage.id,
        "stage": stage.name,
        "inputs": dict(stage.inputs),
        "after": list(stage.after),
        "sources": dict(stage.sources),
    }


def _title(stage: Stage) -> tuple[str, str]:
    """Describes a stage: its name, and its first label with the number of the others."""
    first, *others = stage.labels
    return stage.name, f"{first} (and {len(others)} more)" if others else first


def _edges(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yields (id of a prerequisite, style): '' for an input, mermaid's dashed arrow for a mere order."""
    yield from ((id_, "") for id_ in dict.fromkeys(stage.inputs.values()))
    yield from ((id_, "-.->") for id_ in stage.after if id_ not in stage.inputs.values())


def _dot(stages: Sequence[Stage]) -> Iterator[str]:
    yield "digraph qatbuild {"
    yield "  rankdir=LR; node [shape=box];"
    for stage in stages:
        yield f"  {json.dumps(stage.id)} [label={json.dumps(chr(10).join(_title(stage)))}];"
        for id_, style in _edges(stage):
            yield f"  {json.dumps(id_)} -> {json.dumps(stage.id)}{' [style=dashed]' if style else ''};"
    yield "}"


def _mermaid(stages: Sequence[Stage]) -> Iterator[str]:
    numbers = {stage.id: number for number, stage in enumerate(stages)}
    yield "flowchart LR"
    for stage in stages:
        yield f'  s{numbers[stage.id]}["{"<br/>".join(_title(stage))}"]'
        yield from (f"  s{numbers[id_]} {style or '-->'} s{numbers[stage.id]}" for id_, style in _edges(stage))
