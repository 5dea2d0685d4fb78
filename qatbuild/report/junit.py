"""Gates as JUnit XML, which continuous integration shows: a suite for each model, a test case for each gate."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from qatbuild.report.found import Found


def junit(models: Iterable[Found]) -> str:
    """The text of a JUnit file."""
    root = ET.Element("testsuites")
    total = failures = 0
    for model in models:
        failed = sum(not gate["passed"] for _, gate in model.gates)
        counts = {"name": model.label, "tests": str(len(model.gates)), "failures": str(failed)}
        suite = ET.SubElement(root, "testsuite", counts)
        for where, gate in model.gates:
            owner = f"{model.label}:deploy.{where}" if where else model.label
            case = ET.SubElement(suite, "testcase", {"classname": owner, "name": gate["name"]})
            if not gate["passed"]:
                said = f"wanted {gate['wanted']}, got {gate['got']}"
                ET.SubElement(case, "failure", {"message": said})
        total, failures = total + len(model.gates), failures + failed
    root.attrib.update(name="qatbuild", tests=str(total), failures=str(failures))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
