"""The record of a published stage: the request that made its artifacts, and what a manifest must not hold.

A manifest holds no clock, so of an artifact with measured times (CLOCKED) it has only the name. The record beside it,
STAGE.request.json, has the digests of these artifacts and of run.json, and a seal that binds it to the manifest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.exchange.files import canonical_json, file_sha256, read_json, read_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request

Files = Mapping[str, tuple[int, str]]
"""Name relative to the folder -> (bytes, SHA-256)."""

NO_MANIFEST = ""
"""Stands for the text of the manifest that a refused model does not have."""


class Record(NamedTuple):
    """`measured` are the digests that the manifest lacks, `ran` is that of run.json ('' if the stage was restored).

    `processor` names the one that the stage ran on, '' if that is unknown.
    A restored result may be `elsewhere`: its artifacts are in a cache, and are fetched for the stage that needs them.
    """

    request: Request
    measured: Files
    ran: str
    seal: str
    elsewhere: bool = False
    processor: str = ""

    @classmethod
    def sealed(
        cls,
        request: Request,
        manifest: str,
        measured: Files,
        ran: str = "",
        *,
        elsewhere: bool = False,
        processor: str = "",
    ) -> Record:
        """Makes the record of the results in a manifest, given as its text."""
        unsealed = cls(request, measured, ran, "", elsewhere, processor)
        return unsealed._replace(seal=unsealed.seal_of(manifest))

    @classmethod
    def of(cls, fields: Any) -> Record:
        """Makes the record from the fields that `to_json` writes; ValueError for anything else."""
        request, measured = Request.of(fields), _measured(fields)
        ran, seal, processor = (str(fields.get(name, "")) for name in ("ran", "seal", "processor"))
        return cls(request, measured, ran, seal, bool(fields.get("elsewhere")), processor)

    @classmethod
    def read(cls, path: Path) -> Record:
        """Reads the record in a file; OSError or ValueError if it is not one."""
        return cls.of(read_json(path))

    def to_json(self) -> str:
        """Returns the record's text: the request with further members."""
        names = ("measured", "ran", "elsewhere", "processor", "seal")
        more = {name: getattr(self, name) for name in names}
        return self.request.to_json(**{name: value for name, value in more.items() if value})

    def belongs_to(self, manifest: str) -> bool:
        """Returns whether record and manifest are as they were published together: an edit of either shows."""
        return self.seal == self.seal_of(manifest)

    def complete(self, manifest: Manifest) -> Manifest:
        """Returns its manifest with the digests of all artifacts."""
        return _complete(manifest, self.measured)

    def expected(self, manifest: Manifest) -> Manifest:
        """Returns the manifest, complete, of the artifacts that must be in its folder."""
        return _expected(self.complete(manifest), elsewhere=self.elsewhere)

    def seal_of(self, manifest: str) -> str:
        """Returns the seal that binds this record to a manifest, given as its text."""
        more = [self.measured, self.ran, *([True] if self.elsewhere else [])]
        more += [self.processor] if self.processor else []
        return hashlib.sha256(f"{self.request.key}\n{canonical_json(more)}\n{manifest}".encode()).hexdigest()


def expected(manifest: Manifest, fields: Any) -> Manifest:
    """Returns what `Record.expected` does, for the fields of a record; ValueError for anything else."""
    complete = _complete(manifest, _measured(fields))
    return _expected(complete, elsewhere=bool(fields.get("elsewhere")))


def _measured(fields: Any) -> Files:
    try:
        return {name: (int(size), str(digest)) for name, (size, digest) in fields.get("measured", {}).items()}
    except (TypeError, AttributeError) as fault:
        raise ValueError(f"no record: {fault}") from fault


def _complete(manifest: Manifest, measured: Files) -> Manifest:
    return replace(manifest, files={**manifest.files, **measured}) if measured else manifest


def _expected(complete: Manifest, *, elsewhere: bool) -> Manifest:
    if not elsewhere:
        return complete
    return replace(complete, files={name: row for name, row in complete.files.items() if _is_there(complete, name)})


def _is_there(manifest: Manifest, name: str) -> bool:
    return os.path.lexists(f"{manifest.folder}/{name}")


def run_path(folder: Path, stage: str) -> Path:
    """Returns the path of the times and opened files of a stage's last run."""
    return folder / f"{stage}.run.json"


def ran_on(folder: Path, request: Request) -> str:
    """Returns the processor on which a request ran whose results are in `folder`; '' if that is not on record."""
    try:
        ran = read_json(run_path(folder, request.stage))
        return str(ran["processor"]) if ran["key"] == request.key else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def undigested(manifest: Manifest) -> list[str]:
    """Returns the names of the artifacts without a digest in the manifest."""
    return [name for name, (_, digest) in manifest.files.items() if not digest]


def described(folder: Path, names: Iterable[str]) -> Files:
    """Returns sizes and digests of files in a folder."""
    return {name: ((folder / name).stat().st_size, file_sha256(folder / name)) for name in names}


def published_sha256(folder: Path, stage: str, name: str) -> str:
    """Returns the SHA-256 with which a stage published an artifact; '' without a sound record of it."""
    try:
        path = Manifest.path_of(folder, stage)
        text = read_text(path) if path.is_file() else NO_MANIFEST
        record = Record.read(Request.path_of(folder, stage))
        files = Manifest.parse(text, folder).files if text != NO_MANIFEST else {}
    except (OSError, ValueError):
        return ""
    return {**files, **record.measured}.get(name, (0, ""))[1] if record.belongs_to(text) else ""
