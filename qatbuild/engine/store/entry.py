"""Entries: the result of one request as a store keeps it, here or on another machine.

An entry is small JSON: the manifest's text, the digests that a manifest lacks, what the request was, and who built it.
It holds no path and no credential.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.engine.history.origin import Origin
from qatbuild.engine.walk import tree
from qatbuild.exchange.files import parse_json, read_text
from qatbuild.exchange.manifest import LOGS, Manifest, is_inside
from qatbuild.exchange.processor import processor
from qatbuild.exchange.published import Files, described, ran_on, undigested
from qatbuild.exchange.request import Request
from qatbuild.version import __version__

WRITER_VARIABLE = "QATBUILD_WRITER"
"""Names the writer of a machine that has no lasting name, such as a container of continuous integration."""

_DIGEST = re.compile("[0-9a-f]{64}")


class Writer(NamedTuple):
    """The maker of a result: an opaque id of machine and user, the model of its processor, qatbuild's version."""

    id: str
    processor: str
    version: str

    @classmethod
    @cache
    def here(cls) -> Writer:
        """Returns the writer that this process is."""
        who = os.environ.get(WRITER_VARIABLE) or f"{_machine()} {os.getuid()}"
        return cls(hashlib.sha256(f"qatbuild writer {who}".encode()).hexdigest()[:16], processor(), __version__)


class _Fields(NamedTuple):
    key: str
    text: str
    """The text of the manifest."""
    extra: Files
    """The files without a digest in the manifest: those with measured times, and the logs."""
    origin: Origin | None
    """What the result was made from; None in entries of qatbuild 0.3 and earlier."""
    writer: Writer


class Entry(_Fields):
    """One kept result."""

    @classmethod
    def of(cls, request: Request, manifest: Manifest, origin: Origin) -> Entry:
        """Describes the published result of a request with this origin. OSError if a file cannot be read."""
        logs = [path for name in LOGS for path in map(Path, tree(f"{manifest.folder}/{name}")[1]) if path.is_file()]
        names = [*undigested(manifest), *(path.relative_to(manifest.folder).as_posix() for path in logs)]
        extra = described(manifest.folder, names)
        writer = Writer.here()
        writer = writer._replace(processor=ran_on(manifest.folder, request) or writer.processor)
        return cls(request.key, manifest.to_json(), extra, origin, writer)

    @classmethod
    def parse(cls, key: str, text: str) -> Entry:
        """Reads the entry with this key; ValueError for another text, or the entry of another key."""
        try:
            fields = parse_json(text)
            extra = {str(name): (int(size), str(digest)) for name, (size, digest) in fields["extra"].items()}
            origin = Origin.unpacked(fields["origin"]) if "origin" in fields else None
            writer = Writer(*map(str, fields.get("writer", ["", "", ""])))
            entry = cls(key, str(fields["manifest"]), extra, origin, writer)
            entry._check()
        except (KeyError, TypeError, AttributeError, OverflowError) as fault:
            raise ValueError(f"no entry: {fault}") from fault
        return entry

    def to_json(self) -> str:
        """Returns the entry's text."""
        origin = {} if self.origin is None else {"origin": self.origin.packed()}
        return json.dumps({"manifest": self.text, "extra": self.extra, **origin, "writer": list(self.writer)})

    def manifest(self, folder: Path) -> Manifest:
        """Returns the manifest of the result in a folder."""
        return Manifest.parse(self.text, folder)

    @cached_property
    def files(self) -> Files:
        """Every file of the result: name -> (bytes, SHA-256)."""
        return {**self.manifest(Path()).files, **self.extra}

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that could influence the result (Request.identity); empty if it is not on record."""
        return {} if self.origin is None else self.origin.request.identity

    @property
    def stage(self) -> str:
        """The name of the stage."""
        return self.manifest(Path()).stage

    @property
    def blobs(self) -> dict[str, int]:
        """The contents of the files: SHA-256 -> bytes."""
        return {digest: size_bytes for size_bytes, digest in self.files.values()}

    def _check(self) -> None:
        """Raises ValueError unless every file has a digest and a place in its folder, and the key is the request's."""
        if not all(map(is_inside, self.extra)):
            raise ValueError("a name is no path in the folder")
        if not all(size >= 0 and _DIGEST.fullmatch(digest) for size, digest in self.files.values()):
            raise ValueError("a file has no digest")
        if self.origin is None:
            return
        if self.origin.request.key != self.key:
            raise ValueError("it is the entry of another key")
        if self.origin.request.stage != self.stage:
            raise ValueError("it has the manifest of another stage")


def _machine() -> str:
    """Returns what distinguishes this machine from others."""
    try:
        return read_text("/etc/machine-id").strip() or platform.node()
    except (OSError, ValueError):
        return platform.node()
