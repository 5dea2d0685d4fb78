"""Gates as JUnit XML for continuous integration: a suite for each model, a test case for each gate.

A failed stage is a case with an error; a stage that was not run because of it is a skipped case.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from qatbuild.report.markup import attribute, escape
from qatbuild.report.models import ModelReport

_KINDS = {"failures": "failure", "errors": "error", "skipped": "skipped"}
COUNTS = ("tests", *_KINDS)


class Suite(NamedTuple):
    """The text of one model's suite, and its numbers of cases in the order of COUNTS."""

    text: str
    counts: tuple[int, ...]


def junit(models: Iterable[ModelReport]) -> str:
    """Returns a JUnit file of these models."""
    suites = [suite(model) for model in models]
    return joined([each.text for each in suites], ([each.counts[at] for each in suites] for at in range(len(COUNTS))))


def suite(model: ModelReport) -> Suite:
    """Returns the suite of one model."""
    cases, kinds = [], []
    for where, gate in model.gates:
        owner = f"{model.label}:deploy.{where}" if where else model.label
        kinds.append("" if gate["passed"] else "failure")
        said = "" if gate["passed"] else f"wanted {gate['wanted']}, got {gate['got']}"
        cases.append(_case(owner, gate["name"], kinds[-1], said, ""))
    for failure in model.failures.values():
        kinds.append("error" if failure.block else "skipped")
        cases.append(_case(failure.key, "built", kinds[-1], failure.verdict, failure.block))
    counts = (len(cases), *map(kinds.count, _KINDS.values()))
    about = "".join(f' {name}="{count}"' for name, count in zip(COUNTS, counts, strict=True))
    return Suite(f"<testsuite name={attribute(model.label)}{about}>\n{''.join(cases)}  </testsuite>", counts)


def _case(owner: str, name: str, kind: str, said: str, block: str) -> str:
    """Returns one test case. `kind` is the XML element of its failure, '' if it passed."""
    head = f"testcase classname={attribute(owner)} name={attribute(str(name))}"
    if not kind:
        return f"    <{head} />\n"
    inner = f"{kind} message={attribute(said)}"
    inner = f"<{inner}>{escape(block)}</{kind}>" if block else f"<{inner} />"
    return f"    <{head}>\n      {inner}\n    </testcase>\n"


def joined(texts: Iterable[str], counts: Iterable[Iterable[int]]) -> str:
    """Returns a JUnit file of suites, from their texts and, for each of COUNTS, the numbers of all suites."""
    about = " ".join(f'{name}="{sum(column)}"' for name, column in zip(COUNTS, counts, strict=True))
    body = "".join(f"  {text}\n" for text in texts)
    head = f'<testsuites name="qatbuild" {about}>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{body}</testsuites>\n'
