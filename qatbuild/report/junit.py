"""Gates as JUnit XML, which continuous integration shows: a suite for each model, a test case for each gate.

A stage that failed is a case with an error, and one that was not tried for that reason is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from qatbuild.report.found import Found


def junit(models: Iterable[Found]) -> str:
    """The text of a JUnit file."""
    root = ET.Element("testsuites")
    for model in models:
        suite = ET.SubElement(root, "testsuite", {"name": model.label})
        for where, gate in model.gates:
            owner = f"{model.label}:deploy.{where}" if where else model.label
            case = ET.SubElement(suite, "testcase", {"classname": owner, "name": gate["name"]})
            if not gate["passed"]:
                said = f"wanted {gate['wanted']}, got {gate['got']}"
                ET.SubElement(case, "failure", {"message": said})
        for failure in model.failures.values():
            case = ET.SubElement(suite, "testcase", {"classname": failure.key, "name": "built"})
            kind = "error" if failure.block else "skipped"
            ET.SubElement(case, kind, {"message": failure.verdict}).text = failure.block
        _count(suite)
    root.set("name", "qatbuild")
    _count(root)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _count(suite: ET.Element) -> None:
    kinds = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    suite.attrib.update({name: str(len(list(suite.iter(kind)))) for name, kind in kinds.items()})
