"""Faults of specs in the formats that code hosts and editors show beside the lines.

SARIF 2.1.0 (OASIS), GitHub's workflow commands, GitLab's code quality report, and JSON for scripts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.errors import QatbuildError
from qatbuild.schema.diagnostics import FaultySpecError
from qatbuild.version import __version__

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
_RULE = "spec"


class Finding(NamedTuple):
    """One fault: its file relative to the working directory, line and columns from 1 on, pointer and sentence.

    `end_column` is the column behind the token. A fault of a whole file stands at its first character.
    """

    spec: str
    file: str
    line: int
    column: int
    end_column: int
    pointer: str
    text: str
    replacement: str


def findings(errors: Mapping[str, QatbuildError]) -> Iterator[Finding]:
    """Yields the faults of errors by spec."""
    for spec, error in errors.items():
        if isinstance(error, FaultySpecError) and all(each.place for each in error.diagnostics):
            for pointer, text, place, _, replacement in error.diagnostics:
                assert place is not None
                columns = place.column, place.column + place.length
                yield Finding(spec, _relative(place.file), place.line, *columns, pointer, text, replacement)
        else:
            file = next((value for label, value in error.facts if label == "file"), "")
            yield Finding(spec, _relative(file), 1, 1, 2, "", error.in_one_line(), "")


def as_json(errors: Mapping[str, QatbuildError]) -> dict[str, Any]:
    """Returns by spec the message, the facts and the hint of its error, and its faults with their places."""
    faults: dict[str, list[dict[str, Any]]] = {name: [] for name in errors}
    for each in findings(errors):
        faults[each.spec].append({name: value for name, value in each._asdict().items() if name != "spec"})
    return {
        name: {"message": error.message, "facts": error.facts, "hint": error.hint, "faults": faults[name]}
        for name, error in errors.items()
    }


def as_sarif(errors: Mapping[str, QatbuildError]) -> str:
    """Returns a SARIF log of one run."""
    driver = {"name": "qatbuild", "version": __version__, "rules": [{"id": _RULE, "name": "ValidSpec"}]}
    results = [
        {
            "ruleId": _RULE,
            "level": "error",
            "message": {"text": _sentence(each)},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": each.file},
                        "region": {
                            "startLine": each.line,
                            "startColumn": each.column,
                            "endColumn": each.end_column,
                        },
                    }
                }
            ],
        }
        for each in findings(errors)
    ]
    log = {"$schema": _SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=1)


def as_github(errors: Mapping[str, QatbuildError]) -> str:
    """Returns workflow commands, which GitHub shows as annotations of the lines."""
    return "\n".join(
        f"::error file={_property(each.file)},line={each.line},col={each.column},endColumn={each.end_column}"
        f"::{_escaped(_sentence(each))}"
        for each in findings(errors)
    )


def as_gitlab(errors: Mapping[str, QatbuildError]) -> str:
    """Returns a code quality report, which GitLab shows in merge requests."""
    rows = [
        {
            "description": _sentence(each),
            "check_name": "qatbuild spec",
            "fingerprint": hashlib.sha256(json.dumps(each).encode()).hexdigest(),
            "severity": "major",
            "location": {"path": each.file, "lines": {"begin": each.line}},
        }
        for each in findings(errors)
    ]
    return json.dumps(rows, indent=1)


FORMATS: dict[str, Callable[[Mapping[str, QatbuildError]], str]] = {
    "sarif": as_sarif,
    "github": as_github,
    "gitlab": as_gitlab,
}
"""The formats besides text and JSON, by name."""


def _sentence(each: Finding) -> str:
    return f"{each.pointer}: {each.text}" if each.pointer else each.text


def _relative(file: str | Path) -> str:
    return Path(os.path.relpath(file)).as_posix() if str(file) else ""


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
