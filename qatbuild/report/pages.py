"""Writes report.html and junit.xml of all models; models whose reports have not changed are not rendered again.

The rendered parts of a model are cached with the state (size, mtime, ctime, inode) of its files. Without the cache
everything is read, and so it is if the cache's checksum is wrong. Files of specs that the caller declares unchanged are
not checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from qatbuild.exchange.details import FILE as DETAILS
from qatbuild.exchange.file_state import identity, is_settled
from qatbuild.exchange.files import file_sha256, read_text, write_text
from qatbuild.report import junit
from qatbuild.report.failures import Failure
from qatbuild.report.models import MODEL, ModelReport, read_models
from qatbuild.report.page.data import Entry, entry
from qatbuild.report.page.document import document
from qatbuild.report.published_stages import PublishedStages
from qatbuild.schema.label import spec_of, stage_of

_COLUMN, _CELL = "\x1e", "\x1f"


class Page(NamedTuple):
    """A written file, its SHA-256, whether it was missing or different before, and why it could not be written."""

    file: Path
    sha256: str
    is_new: bool
    fault: OSError | None = None

    @property
    def is_intact(self) -> bool:
        """Whether the file is still as written."""
        try:
            return file_sha256(self.file) == self.sha256
        except OSError:
            return False


class _Rendered(NamedTuple):
    """The parts of the pages about one model. A model that is on no page has no entry."""

    label: str
    state: str
    entry: str = ""
    suite: str = ""
    tests: str = "0"
    failures: str = "0"
    errors: str = "0"
    skipped: str = "0"


class _Columns(NamedTuple):
    """The fields of many models as columns, for storage: columns are faster to read than records."""

    label: Sequence[str]
    state: Sequence[str]
    entry: Sequence[str]
    suite: Sequence[str]
    tests: Sequence[str]
    failures: Sequence[str]
    errors: Sequence[str]
    skipped: Sequence[str]

    @classmethod
    def of(cls, models: Sequence[_Rendered]) -> _Columns:
        return cls._make(zip(*models, strict=True) if models else [()] * len(cls._fields))

    @property
    def counts(self) -> Iterator[Iterator[int]]:
        """The numbers of cases, in the order of junit.COUNTS."""
        return (map(int, column) for column in (self.tests, self.failures, self.errors, self.skipped))


def refresh(
    build: Path,
    labels: Mapping[str, Iterable[str]],
    cache: Path,
    failures: Iterable[Failure] = (),
    unchanged: Container[str] = (),
) -> tuple[Page, Page]:
    """Writes both files, unless they are there as they should be, and returns them, also one that cannot be written.

    `labels`: label -> its routes; `cache`: the file of rendered parts; `failures`: stages without a current result;
    `unchanged`: specs none of whose files has changed since `cache` was written.
    """
    before, now_ns = _load(cache), time.time_ns()
    failed: dict[str, dict[str, Failure]] = {}
    for failure in failures:
        failed.setdefault(failure.label, {})[failure.key] = failure
    models, published = list[_Rendered](), PublishedStages()
    for label, routes in labels.items():
        without, rendered = failed.get(label, {}), before.get(label)
        if rendered is not None and rendered.state and not without and spec_of(label) in unchanged:
            models.append(rendered)
            continue
        state = "" if without else _state(str(build), label, routes, now_ns)
        if rendered is not None and state and rendered.state == state:
            models.append(rendered)
        else:
            read = read_models(build, {label: routes}, without, published)
            models.append(_render(label, state, read, published))
    shown = _Columns.of([each for each in models if each.entry])
    written = (
        _written(build / "report.html", document(list(map(Entry.of, shown.entry)))),
        _written(build / "junit.xml", junit.joined(shown.suite, shown.counts)),
    )
    text = _COLUMN.join([_version(), *map(_CELL.join, _Columns.of(models))])
    if models != list(before.values()):
        with contextlib.suppress(OSError):
            write_text(cache, f"{_checksum(text)}{_COLUMN}{text}")
    return written


def _written(file: Path, text: str) -> Page:
    page = Page(file, hashlib.sha256(text.encode()).hexdigest(), is_new=True)
    if page.is_intact:
        return page._replace(is_new=False)
    try:
        write_text(file, text)
    except OSError as fault:
        return page._replace(fault=fault)
    return page


def _render(label: str, state: str, models: Sequence[ModelReport], published: PublishedStages) -> _Rendered:
    """Returns the parts about a label; `models` has its model, if it is on a page."""
    if not models:
        return _Rendered(label, state)
    suite = junit.suite(models[0])
    return _Rendered(label, state, entry(models[0], published).to_text(), suite.text, *map(str, suite.counts))


def _state(build: str, label: str, routes: Iterable[str], now_ns: int) -> str:
    """Returns the state of a model's reports; '' if one changed so recently that another change might go unnoticed."""
    files = [
        f"{build}/{label}/report.json",
        f"{build}/{label}/{DETAILS}",
        *(f"{build}/{label}/{name}.manifest.json" for name in (*MODEL, "evaluate")),
        *(f"{build}/{label}/{name}.request.json" for name in (*MODEL, "evaluate")),
    ]
    for name in routes:
        folder, stage = f"{build}/{label}/deploy/{name}", stage_of(name)
        files += [f"{folder}/{each}" for each in ("route.json", f"{stage}.manifest.json", f"{stage}.request.json")]
    parts = []
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116  Thousands of them.
        except OSError:
            parts.append(f"{file} -")
            continue
        if not is_settled(status.st_ctime_ns, now_ns):
            return ""
        parts.append(f"{file} {identity(status)}")
    return "\n".join(parts)


def _load(cache: Path) -> dict[str, _Rendered]:
    try:
        checksum, _, text = read_text(cache).partition(_COLUMN)
        version, *texts = text.split(_COLUMN)
        if version != _version() or checksum != _checksum(text):
            return {}
        columns = _Columns._make(text.split(_CELL) for text in texts)
        return dict(zip(columns.label, map(_Rendered._make, zip(*columns, strict=True)), strict=True))
    except (OSError, ValueError, TypeError):
        return {}


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _version() -> str:
    """Returns the version of the cache, which changes with the modules that render a model."""
    return "\n".join(identity(file.stat()) for file in sorted(Path(__file__).parent.rglob("*.py")))
