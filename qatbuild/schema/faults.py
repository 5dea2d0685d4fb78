"""Describes the faults of a document for the user: JSON pointer, what is wrong, what to write instead.

A merged document comes from several files and patches. Each fault is shown at the file and patch that wrote the wrong
value, or where the missing value belongs: there the user can correct it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, KeysView, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qatbuild.exchange.files import canonical_json, read_text, write_text
from qatbuild.schema.fast_validator import is_valid, matches
from qatbuild.schema.nearest import nearest, suggest
from qatbuild.schema.positions import Keys

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

SCHEMA_PATH = Path(__file__).with_name("spec.schema.json")
HINT = "x-hint"
MOST = 100
"""Largest number of faults of a spec that are described. Describing one may take a millisecond."""

_JSON_TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


_MISSING = "missing."
_LONGEST_VALUE = 59
"""Most characters of a wrong value that are shown."""


class Fault(NamedTuple):
    """One fault: a path of keys into the document, and the text that describes it.

    `replacement` is the JSON text that corrects a misspelt token. `at_key`: the fault is the last key, not its value.
    """

    path: Keys
    text: str
    replacement: str = ""
    at_key: bool = False


class Layer(NamedTuple):
    """One document of a merge: its file, the path in the file at which it begins, and its content.

    The patch of a matrix value only counts for paths of at least `inside` keys: the keys of the field that it sets.
    """

    file: Path
    prefix: Keys
    document: Any
    inside: int = 0


@cache
def validator() -> Validator:
    """Returns the validator of spec.schema.json. jsonschema is imported here, because only faults need it."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415
    from jsonschema.validators import extend  # noqa: PLC0415

    every_item = Draft202012Validator.VALIDATORS["items"]

    def items(*arguments: Any) -> Iterator[ValidationError]:
        return itertools.islice(every_item(*arguments), MOST)  # An anyOf collects the errors of a long list.

    def pattern(_: Any, wanted: str, text: Any, __: Any) -> Iterator[ValidationError]:
        if isinstance(text, str) and not matches(wanted, text):
            yield ValidationError(f"does not match {wanted}")

    kind: type[Validator] = extend(Draft202012Validator, {"items": items, "pattern": pattern})  # type: ignore[no-untyped-call]
    return kind(_schema())


@cache
def _schema() -> dict[str, Any]:
    return dict(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


class ValidDocuments:
    """Digests of valid documents, kept in a file, so that no document is validated twice.

    `save` keeps the documents added since the file was read, and forgets the others.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Reads the digests in `file`; an unreadable file counts as empty."""
        self._file = file
        self._valid: set[str] = set()
        self._visited: set[str] = set()
        if file is not None:
            with contextlib.suppress(OSError, ValueError):
                self._valid = set(read_text(file).split())

    def contains(self, key: str) -> bool:
        """Returns whether a document with this key is on record."""
        return key in self._valid

    def add(self, key: str) -> None:
        """Records a valid document."""
        self._visited.add(key)

    def keep_unvisited(self) -> None:
        """Keeps the recorded documents of specs that were not loaded."""
        self._visited |= self._valid

    def save(self) -> None:
        """Writes the added documents, if one of them is new. A failure to write only costs time."""
        if self._file is not None and self._visited - self._valid:
            with contextlib.suppress(OSError):
                write_text(self._file, "\n".join(sorted(self._visited)))


def _key(document: object) -> str:
    """Returns the digest of a document and the schema; '' for a value that is not JSON."""
    try:
        return hashlib.sha256((_schema_sha256() + canonical_json(document)).encode()).hexdigest()
    except (TypeError, ValueError):
        return ""


@cache
def _schema_sha256() -> str:
    return hashlib.sha256(SCHEMA_PATH.read_bytes()).hexdigest()


def of_schema(document: object, valid: ValidDocuments) -> list[Fault]:
    """Returns the schema faults of a merged document, at most MOST; one in `valid` is not validated again."""
    key = _key(document)
    if not (valid.contains(key) or is_valid(document, _schema())) and (faults := _of_schema(document)):
        return faults
    if key:
        valid.add(key)
    return []


def _of_schema(document: Any) -> list[Fault]:
    errors = itertools.islice(validator().iter_errors(document), MOST)
    in_order = sorted(errors, key=lambda error: [str(key) for key in error.absolute_path])
    return _without_consequences(itertools.islice((fault for error in in_order for fault in _faults(error)), MOST))


def fields() -> KeysView[str]:
    """Returns the names of all fields of a spec."""
    properties: dict[str, Any] = _schema()["properties"]
    return properties.keys()


def _without_consequences(faults: Iterable[Fault]) -> list[Fault]:
    """Leaves out faults that follow from another one.

    These are: a second fault of one value, besides its type; a field that is missing because it is misspelt, or that is
    wanted because a field beside it has a wrong value.
    """
    faults = list(faults)
    misspelt = [fault for fault in faults if fault.at_key and fault.replacement]
    meant = {(*fault.path[:-1], json.loads(fault.replacement)) for fault in misspelt}
    mistyped = {fault.path: fault for fault in faults if _is_of_type(fault)}
    holders = {path[:-1] for path in mistyped if path}
    return [
        fault
        for fault in faults
        if mistyped.get(fault.path, fault) is fault
        and not (fault.text.startswith(_MISSING) and (fault.path in meant or fault.path[:-1] in holders))
    ]


def _is_of_type(fault: Fault) -> bool:
    return fault.text.startswith(tuple(f"must be {kind}" for kind in _JSON_TYPES.values()))


def place(path: Keys, layers: Sequence[Layer]) -> tuple[Layer, Keys]:
    """Returns (layer, path in its file) of a path: of the layer with the longest part of it."""
    best = max(layers, key=lambda layer: _reach(layer, path))
    if _reach(best, path) <= 0:  # Nothing of it is written: it belongs into the spec itself, not into each variant.
        best = next((layer for layer in layers if not layer.prefix), best)
    return best, (*best.prefix, *path[best.inside :])


def _reach(layer: Layer, path: Sequence[str | int]) -> float:
    """Returns how many keys of a path a layer has; above its own field, the patch of a matrix value ranks lower."""
    depth = _depth(layer.document, path)
    if depth >= layer.inside:
        return depth
    return depth - 0.5 if depth == len(path) else -1


def _depth(document: object, path: Sequence[str | int]) -> int:
    for depth, key in enumerate(path):
        try:
            document = document[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return depth
    return len(path)


def _faults(error: ValidationError) -> Iterator[Fault]:
    path = tuple(error.absolute_path)
    schema: Any = error.schema
    wanted: Any = error.validator_value
    instance: Any = error.instance
    hint = schema.get(HINT, "") if isinstance(schema, dict) else ""
    match error.validator:
        case "additionalProperties":
            properties = schema["properties"]
            for name in sorted(set(instance) - set(properties)):
                every = f" Known: {', '.join(sorted(properties))}."
                near = nearest(name, properties)
                text = f"unknown field.{suggest(name, properties) or every}"
                yield Fault((*path, name), text, json.dumps(near) if near else "", at_key=True)
        case "anyOf":
            for inner in _closest(error):
                yield from _faults(inner)
        case "required":
            # jsonschema makes one error for each missing name, and gives the name only in the error's message.
            (name,) = [name for name in wanted if error.message.startswith(repr(name))]
            yield Fault((*path, name), f"{_MISSING}{_sentence(hint)}")
        case "dependentRequired":
            needed = sorted({name for names in wanted.values() for name in names} - set(instance))
            yield from (Fault((*path, name), f"{_MISSING}{_sentence(hint)}") for name in needed)
        case "enum":
            near = nearest(instance, map(str, wanted)) if isinstance(instance, str) else ""
            text = (_phrase(error, wanted) + _sentence(hint)).strip()
            yield Fault(path, text, json.dumps(near) if near else "")
        case _:
            yield Fault(path, (_phrase(error, wanted) + _sentence(hint)).strip())


def _closest(error: ValidationError) -> list[ValidationError]:
    """Returns the faults under the most likely alternative: one of the value's own type, with the fewest faults."""
    branches: dict[object, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)
    here = len(error.absolute_path)

    def misfit(fault: ValidationError) -> bool:
        wrong_kind = fault.validator == "type" or (fault.validator == "enum" and not isinstance(fault.instance, str))
        return wrong_kind and len(fault.absolute_path) == here

    return min(branches.values(), key=lambda faults: (any(map(misfit, faults)), len(faults)))


def _sentence(hint: str) -> str:
    return f" {hint[0].upper()}{hint[1:]}." if hint else ""


_LIMITS = {
    "minimum": "must be at least",
    "maximum": "must be at most",
    "exclusiveMinimum": "must be greater than",
    "exclusiveMaximum": "must be less than",
    "pattern": "must match",
    "const": "must be",
}


def no_object(path: Keys, value: object) -> Fault:
    """Returns the fault of a value where an object belongs."""
    return Fault(path, f"must be an object, got {_shown(value)}.")


def _phrase(error: ValidationError, wanted: Any) -> str:
    got = _shown(error.instance)
    match error.validator:
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            return f"must be {' or '.join(_JSON_TYPES[kind] for kind in kinds)}, got {got}."
        case "enum":
            choices = ", ".join(json.dumps(choice) for choice in wanted)
            word = error.instance
            near = suggest(word, [str(choice) for choice in wanted]) if isinstance(word, str) else ""
            return f"must be one of {choices}, got {got}.{near}"
        case "minLength" | "minProperties" | "minItems":
            return "must not be empty."
        case "not":  # The hint says what is not allowed.
            return ""
        case limit if limit in _LIMITS:
            return f"{_LIMITS[str(limit)]} {wanted if isinstance(wanted, str) else json.dumps(wanted)}, got {got}."
        case _:
            return error.message.rstrip(".") + "."


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 2]}..."
