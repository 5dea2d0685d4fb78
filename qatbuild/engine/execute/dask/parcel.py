"""What travels to a worker on another machine and back: a parcel with a request, and its outcome. Both are JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from qatbuild.engine.execute.dask.blobs import Content, Contents
from qatbuild.exchange.files import canonical_json, parse_json
from qatbuild.exchange.request import Input, Request, Source

_NOTHING: Contents = MappingProxyType({})


class Parcel(NamedTuple):
    """A request with the paths of the machine that sends it, and the content of the files that it names.

    `modules` are those of the code digest; `own_files` are the SHA-256 of qatbuild's files among all that they import,
    by path below its folder. `files` are by path; `folders` are sources that are folders: their content is a text with
    the content of each file below. `cache` is where all these blobs are.
    """

    request: Request
    modules: tuple[str, ...]
    own_files: Mapping[str, str]
    files: Contents
    folders: Contents
    cache: str

    def to_json(self) -> str:
        """Returns the parcel as JSON."""
        return canonical_json({**self._asdict(), "request": self.request.to_json()})

    @classmethod
    def from_json(cls, text: str) -> Parcel:
        """Reads what `to_json` wrote; ValueError for the parcel of a qatbuild with another form of it."""
        fields: Any = parse_json(text)
        try:
            files, folders = contents(fields["files"]), contents(fields["folders"])
            request = Request.from_json(fields["request"])
            return cls(request, tuple(fields["modules"]), dict(fields["own_files"]), files, folders, fields["cache"])
        except (KeyError, TypeError, AttributeError) as fault:
            raise ValueError(f"not a parcel: {fault}") from fault


class End(StrEnum):
    """How a parcel ended. REFUSED: the worker is unlike its sender. LACKS: blobs are missing."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    LACKS = "lacks"


class Outcome(NamedTuple):
    """The outcome of a parcel.

    `worker` is its address. `manifest` and `ran` are the texts of the stage's manifest and run.json, '' if it left
    none. `files` are all below the request's `out` by relative name. `error` is a QatbuildError's JSON. `log` is the
    whole log of `run`, called `log_name` in errors. All paths are below `root`. `code` are the fingerprints of a
    refusing worker's modules. `lacks` are digests of blobs.
    """

    end: End
    worker: str = ""
    manifest: str = ""
    files: Contents = _NOTHING
    ran: str = ""
    error: str = ""
    run: str = ""
    log: Content | None = None
    log_name: str = ""
    root: str = ""
    code: Mapping[str, str] = MappingProxyType({})
    lacks: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Returns the outcome as JSON."""
        return canonical_json({**self._asdict(), "files": {**self.files}, "code": {**self.code}})

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Reads what `to_json` wrote."""
        fields: Any = parse_json(text)
        log = fields["log"]
        return cls(
            **{
                **fields,
                "end": End(fields["end"]),
                "files": contents(fields["files"]),
                "log": None if log is None else Content(*log),
                "lacks": tuple(fields["lacks"]),
            }
        )


class Message(NamedTuple):
    """What a worker says of the running stage `key` meanwhile: more of its log, and of its progress.

    `run` is another number for each time that the stage begins. `log` are the bytes from `start` to `end`, with paths
    that do not tell of the scratch folder. `saved` says that its training can go on from a later step elsewhere,
    `ended` that it runs no more. `outcome` is said of a stage that is done, as JSON, with the `cache` that
    has its files.
    """

    key: str
    run: str = ""
    start: int = 0
    end: int = 0
    log: bytes = b""
    console: bytes = b""
    saved: bool = False
    ended: bool = False
    outcome: str = ""
    cache: str = ""


TOPIC = "qatbuild"
"""Dask's topic of messages. It is one for all, as a scheduler never forgets a topic."""


def contents(fields: Mapping[str, Any]) -> dict[str, Content]:
    """Reads contents by name from JSON."""
    return {name: Content(int(size), str(digest)) for name, (size, digest) in fields.items()}


def moved(request: Request, root: Path) -> Request:
    """Returns the request with every path below `root`: all distances between its files stay as they are."""

    def below(path: Path) -> Path:
        return Path(f"{root}{path}")

    return replace(
        request,
        inputs={role: Input(below(each.path), each.sha256) for role, each in request.inputs.items()},
        sources={role: Source(below(each.path), each.sha256) for role, each in request.sources.items()},
        project=below(request.project),
        downloads=below(request.downloads),
        folder=below(request.folder),
        work=below(request.work),
    )
