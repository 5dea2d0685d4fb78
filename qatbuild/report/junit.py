"""Gates as JUnit XML, which continuous integration shows: a suite for each model, a test case for each gate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from qatbuild.report.found import Found


@dataclass(frozen=True)
class Suite:
    """The text of one model's suite, how many cases it has, and how many of them failed."""

    text: str
    tests: int
    failures: int


def junit(models: Iterable[Found]) -> str:
    """The text of a JUnit file."""
    return joined([suite(model) for model in models])


def suite(model: Found) -> Suite:
    """What a JUnit file says of one model."""
    failed = sum(not gate["passed"] for _, gate in model.gates)
    counts = {"name": model.label, "tests": str(len(model.gates)), "failures": str(failed)}
    element = ET.Element("testsuite", counts)
    for where, gate in model.gates:
        owner = f"{model.label}:deploy.{where}" if where else model.label
        case = ET.SubElement(element, "testcase", {"classname": owner, "name": gate["name"]})
        if not gate["passed"]:
            said = f"wanted {gate['wanted']}, got {gate['got']}"
            ET.SubElement(case, "failure", {"message": said})
    ET.indent(element, level=1)
    return Suite(ET.tostring(element, encoding="unicode"), len(model.gates), failed)


def joined(suites: Sequence[Suite]) -> str:
    """A JUnit file of suites."""
    tests, failures = sum(each.tests for each in suites), sum(each.failures for each in suites)
    body = "".join(f"  {each.text}\n" for each in suites)
    head = f'<testsuites name="qatbuild" tests="{tests}" failures="{failures}">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{body}</testsuites>\n'
