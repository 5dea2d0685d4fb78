"""Specs that are broken at random, from shipped specs and from ten that once ended doit with a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
SPECS = HERE.parents[1] / "specs"
CRASHING: dict[str, str] = json.loads((HERE / "crashing_specs.json").read_text())
"""Ten specs by name that once ended doit with a traceback."""

LONG: dict[str, Any] = json.loads((HERE / "long_specs.json").read_text())
"""Valid specs by name that use what no shipped spec does: several inputs and outputs, every task, other sources."""

SCHEMA = json.loads((HERE.parents[1] / "qatbuild/schema/spec.schema.json").read_text())
KEYS = sorted({name for part in [SCHEMA, *SCHEMA["$defs"].values()] for name in part.get("properties", {})})
FIELDS = sorted(f"{part}.{name}" for part, fields in SCHEMA["$defs"].items() for name in fields.get("properties", {}))

TEXTS = (
    "", " ", "a", "net.json", "_base.json", "../net.json", ".", "..", "/", "/dev/zero", "/etc/passwd", "~/x", "-x",
    "a:b",
    "a..b:c", f"{'m' * 300}:f", f"{'m.' * 300}m:f", "x" * 300, "x/" * 3000, "x" * 70_000,
    "a\0b", "\0", "\ud800", "a\udcffb",
    "\udbff\udfff", "\x1b[31mred\x1b[0m", "\x1b]0;t\x07", "\u202eevil", "\u2066", "\x9b1m", "\x7f", "a\nb", "a\r",
    "b\n",
    "\u2028", "\ufeff", "\ufffe", "\U0001f600", "ü" * 200, "e\u0301" * 200, "**/**/*", "[", "[[[[", "%s%n", "{0}",
    "{doc}",
    "$HOME", "`id`", "<script>", "&amp;", "__proto__", "constructor", "None", "NaN", "1e999", "http://exa mple",
    "https://[::1", "http://\x00", "https://h:99999999/x", "qat", "ptq", "float", "scratch", "percentile", "uint8",
    "digits",
    "npz", "cifarnet", "ethos-u65-256", "tf1", "last", "best",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 0.5, -0.0, 1e-320, 1e308, 127.5, 255, 256, 2**31, 2**53, 10**17, 10**17 + 1, -(10**17), True, False,
    None,
)  # fmt: skip
RAW = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 5000, "0." + "3" * 5000, "01", "+1", ".5", "1.", "0x1F",
    "[" * 100_000, '{"a":' * 5000, "'a'", "//", "/* */", "undefined", '"\\ud800"', '"\\u0000"', '"\\x"', '"\t"', "",
)  # fmt: skip
"""Texts that stand for a value in the file, most of them no JSON."""

_MARK = "@raw@"
_LEVELS = (2, 20, 40, 300)
_COUNTS = (2, 20, 200)


def seeds() -> list[Any]:
    """Shipped and long specs as values, and crashing specs as values or, where they are no JSON, as texts."""
    shipped = [json.loads(file.read_text()) for file in sorted(SPECS.rglob("*.json"))]
    return [*shipped, *LONG.values(), *map(_value, CRASHING.values())]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def mutated(random: Random, seeds: list[Any]) -> bytes:
    """Returns the content of a file: a seed with some values, keys and bytes replaced."""
    seed = random.choice(seeds)
    if isinstance(seed, str):
        return _broken(random, seed.encode())
    document = copy.deepcopy(seed)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        _edit(random, document, seeds)
    text = json.dumps(document, ensure_ascii=random.random() < 0.7)
    while (mark := json.dumps(_MARK)) in text:
        text = text.replace(mark, random.choice(RAW), 1)
    data = text.encode("utf-8", "surrogatepass")
    return _broken(random, data) if random.random() < 0.1 else data


def _edit(random: Random, document: Any, seeds: list[Any]) -> None:
    """Changes one place of a document, chosen at random."""
    places = list(_places(document))
    if not places:
        return
    holder, key = random.choice(places)
    match random.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[random.choice([*KEYS, *FIELDS, *TEXTS])] = holder.pop(key)
        case 2 if isinstance(holder, dict):
            holder[random.choice(KEYS)] = _any(random, seeds)
        case 3 if isinstance(document, dict):
            document["matrix"] = {random.choice([*FIELDS, *TEXTS]): _list(random, seeds) for _ in range(2)}
        case 4 if isinstance(document, dict):
            document["variants"] = {random.choice([*TEXTS, "b"]): _any(random, seeds) for _ in range(2)}
        case 5 if isinstance(document, dict):
            document["model"] = {random.choice(("call", "weights", "keras", "files")): random.choice(TEXTS)}
        case _:
            holder[key] = _any(random, seeds)


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yields (holder, key) of every value."""
    keys = list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in keys:
        yield document, key
        yield from _places(document[key])


def _any(random: Random, seeds: list[Any]) -> Any:
    match random.randrange(10):
        case 0:
            return _MARK
        case 1:
            return _nested(random.choice(_LEVELS), random.choice(("list", "object", "options")))
        case 2:
            return {f"{random.choice(TEXTS)[:300]}{number}": number for number in range(random.choice(_COUNTS))}
        case 3:
            return _list(random, seeds)
        case 4:
            return copy.deepcopy(random.choice(list(_places(random.choice(seeds))) or [({"": 0}, "")])[0])
        case 5 | 6:
            return random.choice(NUMBERS)
        case _:
            return random.choice(TEXTS)


def _list(random: Random, seeds: list[Any]) -> list[Any]:
    if random.random() < 0.1:
        return [random.choice(NUMBERS)] * random.choice(_COUNTS)
    return [_any(random, seeds) if random.random() < 0.2 else random.choice((*NUMBERS, *TEXTS)) for _ in range(3)]


def _nested(levels: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind == "list" else {kind: value}
    return value


def _broken(random: Random, data: bytes) -> bytes:
    """Changes some bytes of a file, whatever they mean."""
    at, end = sorted((random.randrange(len(data) + 1), random.randrange(len(data) + 1)))
    match random.randrange(8):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes(random.randrange(256) for _ in range(8)) + data[at:]
        case 2:
            return data[:at] + data[end:]
        case 3:
            return data[:end] + data[at:]
        case 4:
            return b"\xef\xbb\xbf" + data
        case 5:
            return data.decode("utf-8", "replace").encode(random.choice(("utf-16", "utf-16-le", "utf-32", "utf-7")))
        case 6:
            return data[:at] + data[at : at + 3] * 3000 + data[at:]
        case _:
            return data.replace(
                random.choice((b"{", b"}", b'"', b",", b":", b"0")), random.choice((b"", b"[", b"\x1b", b"9")), 3
            )
