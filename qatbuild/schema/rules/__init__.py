"""Rules that a JSON Schema cannot express: relations between fields, and the paths and modules of a spec.

All faults are reported at once, so each rule must accept any merged document: the schema reports a field of the wrong
type, and the rules ignore it. Each module has the rules of one part of a spec.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qatbuild.schema.faults import Fault
from qatbuild.schema.rules import (
    dataset,
    deployment,
    gates,
    inputs,
    network,
    outputs,
    quantization,
    training,
    unlabelled,
)  # fmt: skip
from qatbuild.schema.rules.places import AllowedPaths, misplaced

__all__ = ["AllowedPaths", "rule_violations"]

_RULES = (
    quantization.violations,
    training.violations,
    network.violations,
    dataset.violations,
    inputs.violations,
    outputs.violations,
    gates.violations,
    unlabelled.violations,
    deployment.violations,
)


def rule_violations(document: Any, folder: Path, allowed_paths: AllowedPaths) -> Iterator[Fault]:
    """Yields a fault for every violated rule. The document's paths are relative to `folder`."""
    yield from itertools.chain.from_iterable(rule(document) for rule in _RULES)
    yield from misplaced(document, folder, allowed_paths)
