"""Gates as JUnit XML, which continuous integration shows: a suite for each model, a test case for each gate.

A stage that failed is a case with an error, and one that was not tried for that reason is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from qatbuild.report.found import Found

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML file may hold: a tool's colours, for one."""

_TAGS = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}


@dataclass(frozen=True)
class Suite:
    """The text of one model's suite, how many cases it has, and what became of them."""

    text: str
    tests: int
    failures: int
    errors: int
    skipped: int


def junit(models: Iterable[Found]) -> str:
    """The text of a JUnit file."""
    return joined([suite(model) for model in models])


def suite(model: Found) -> Suite:
    """What a JUnit file says of one model."""
    element = ET.Element("testsuite", {"name": model.label})
    for where, gate in model.gates:
        owner = f"{model.label}:deploy.{where}" if where else model.label
        case = ET.SubElement(element, "testcase", {"classname": owner, "name": gate["name"]})
        if not gate["passed"]:
            said = f"wanted {gate['wanted']}, got {gate['got']}"
            ET.SubElement(case, "failure", {"message": said})
    for failure in model.failures.values():
        case = ET.SubElement(element, "testcase", {"classname": failure.key, "name": "built"})
        kind = "error" if failure.block else "skipped"
        ET.SubElement(case, kind, {"message": failure.verdict}).text = failure.block
    counts = {name: len(list(element.iter(tag))) for name, tag in _TAGS.items()}
    element.attrib.update({name: str(count) for name, count in counts.items()})
    ET.indent(element, level=1)
    return Suite(_NO_XML.sub("\ufffd", ET.tostring(element, encoding="unicode")), **counts)


def joined(suites: Sequence[Suite]) -> str:
    """A JUnit file of suites."""
    counts = " ".join(f'{name}="{sum(getattr(each, name) for each in suites)}"' for name in _TAGS)
    body = "".join(f"  {each.text}\n" for each in suites)
    head = f'<testsuites name="qatbuild" {counts}>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{body}</testsuites>\n'
