"""Writes the page: template, style and scripts as one file, and the data of all models in one block of JSON.

The page runs only the scripts whose digest is in its own content security policy, and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from string import Template
from typing import NamedTuple

from qatbuild.exchange.files import write_text
from qatbuild.report.comparison import Difference
from qatbuild.report.models import ModelReport
from qatbuild.report.page.bundle import bundled
from qatbuild.report.page.data import PICTURES, Entry, as_json, compact_json, entry, named

FOLDER = Path(__file__).parent
TEMPLATE, STYLE = FOLDER / "template.html", FOLDER / "style.css"
SCRIPTS = FOLDER / "scripts"

MOST_BYTES = 1_850_000
"""Of data besides the pictures. A page with more leaves the parts of LARGE_PARTS out, one after the other."""

MOST_PICTURE_BYTES = 20_000_000

_INDEX_BYTES = 6
"""Of the number of a part in a model's list, with its comma: about."""

LARGE_PARTS = (
    "histograms",
    "confusion",
    "curve of float",
    "curve of quantize",
    "confusions",
    "more measures",
    "causes",
)


class Changes(NamedTuple):
    """What changed from one time to another, such as from main to the working tree, by label."""

    former: str
    now: str
    differences: Sequence[Difference]


def write(
    path: Path,
    models: Iterable[ModelReport],
    compare: tuple[str, str] | None = None,
    changes: Changes | None = None,
) -> None:
    """Writes the page of these models. OSError if it cannot be written.

    `compare` are the labels of two of them that the page shows side by side when it is opened.
    """
    write_text(path, page(models, compare, changes))


def page(models: Iterable[ModelReport], compare: tuple[str, str] | None = None, changes: Changes | None = None) -> str:
    """Returns the page of these models, in their order."""
    return document([entry(model) for model in models], compare, changes)


def document(entries: Sequence[Entry], compare: tuple[str, str] | None = None, changes: Changes | None = None) -> str:
    """Returns the page of the entries of models, in their order."""
    script = bundled(SCRIPTS, "app.js")
    return _template().substitute(
        title=f"qatbuild: {len(entries)} model{'s' * (len(entries) != 1)}",
        policy=_policy(script),
        style=STYLE.read_text(encoding="utf-8"),
        data=_data(entries, compare, changes),
        script=script,
    )


def _data(entries: Sequence[Entry], compare: tuple[str, str] | None, changes: Changes | None) -> str:
    """Returns the block: rows, the indices of each model's parts, and every different part once, with its name."""
    numbers: dict[str, int] = {}
    indices = [[numbers.setdefault(part, len(numbers)) for part in each.parts] for each in entries]
    shared = [named(part) for part in numbers]
    left_out = _left_out(shared, sum(len(each.row) + _INDEX_BYTES * len(each.parts) for each in entries))
    names = list(dict.fromkeys(name for name, _ in shared))
    place = {name: at for at, name in enumerate(names)}
    about = {"left_out": left_out, "compare": compare, "changes": _changes(changes), "names": names}
    lists = {"parts": [place[name] for name, _ in shared], "indices": indices}
    rows = ",\n".join(each.row for each in entries)
    texts = ",\n".join("0" if name in left_out else text for name, text in shared)
    return f'{as_json(about)[:-1]},\n{compact_json(lists)[1:-1]},\n"models":[{rows}],\n"shared":[{texts}]}}'


def _left_out(shared: Iterable[tuple[str, str]], total_bytes: int) -> list[str]:
    """Returns the names of the parts for which the page is too large; `total_bytes` is the size of everything else."""
    sizes: dict[str, int] = {}
    for name, text in shared:
        sizes[name] = sizes.get(name, 0) + len(text)
    left_out = [PICTURES] if sizes.pop(PICTURES, 0) > MOST_PICTURE_BYTES else []
    total_bytes += sum(sizes.values())
    for name in LARGE_PARTS:
        if total_bytes > MOST_BYTES and name in sizes:
            left_out.append(name)
            total_bytes -= sizes[name]
    return left_out


def _changes(changes: Changes | None) -> Mapping[str, object] | None:
    return changes and {**changes._asdict(), "differences": [each.to_json() for each in changes.differences]}


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"


@cache
def _template() -> Template:
    return Template(TEMPLATE.read_text(encoding="utf-8"))
