"""Fields that exclude each other, in merge patches: a patch that writes one drops what the other left.

`inputs` drops `input`, and the reverse. Another quantize.method drops the fields of the other method (see methods.py),
another task of an output the fields that the new task lacks. An input that becomes one of real values loses its mean,
std_dev and order, one that becomes bytes its range.
"""

from __future__ import annotations

from typing import Any

from qatbuild.schema.methods import without_other_method
from qatbuild.schema.tasks import SPECIAL, task_of

_BYTES = ("mean", "std_dev", "order")


def without_alternatives(document: Any, patch: Any) -> Any:
    """Drops those fields of a document that exclude what a patch writes. Both may be any value."""
    document = without_other_method(document, patch)
    if not (isinstance(document, dict) and isinstance(patch, dict)):
        return document
    for name, other in (("input", "inputs"), ("inputs", "input")):
        if patch.get(name) is not None and other not in patch:
            document = {key: value for key, value in document.items() if key != other}
    if isinstance(patch.get("input"), dict):
        document = _changed(document, "input", _input(document.get("input"), patch["input"]))
    for section, change in (("inputs", _input), ("outputs", _output)):
        parts, patches = document.get(section), patch.get(section)
        if isinstance(parts, dict) and isinstance(patches, dict):
            both = {name: change(parts[name], patches[name]) for name in parts.keys() & patches.keys()}
            document = {**document, section: {**parts, **both}}
    return document


def _changed(document: dict[str, Any], section: str, value: Any) -> dict[str, Any]:
    return {**document, section: value} if section in document else document


def _input(fields: Any, patch: Any) -> Any:
    if not (isinstance(fields, dict) and isinstance(patch, dict)):
        return fields
    if patch.get("real") is True:
        return _without(fields, _BYTES, patch)
    if any(patch.get(name) is not None for name in ("mean", "std_dev")) and "real" not in patch:
        return _without(fields, ("real", "range"), patch)
    return fields


def _output(fields: Any, patch: Any) -> Any:
    if not (isinstance(fields, dict) and isinstance(patch, dict)):
        return fields
    task = task_of(patch.get("task"))
    if task is None or patch["task"] == fields.get("task"):
        return fields
    kept = () if "call" in (patch["task"], fields.get("task")) else task.fields
    # The values of a field that both tasks have are kept only if the new task has them, too.
    lost = [
        name
        for name in SPECIAL
        if name not in kept
        or (name == "values" and fields.get(name) not in task.values)
        or (name == "loss" and fields.get(name) not in task.losses)
    ]
    return _without(fields, lost, patch)


def _without(fields: dict[str, Any], names: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """Drops fields, except those that the patch merges into: both then count."""
    return {name: value for name, value in fields.items() if name not in names or name in patch}
