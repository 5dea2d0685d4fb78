"""Requests: the message from the engine to a worker process, and its key.

A stage sees its request and nothing else. The key covers all of a request that can influence the result: not the
folders, on which no result depends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from qatbuild.exchange.files import canonical_json, lined_json, parse_json, read_json
from qatbuild.exchange.manifest import Manifest


@dataclass(frozen=True)
class Input:
    """An upstream stage's manifest and the SHA-256 of its text."""

    path: Path
    sha256: str

    @property
    def manifest(self) -> Manifest:
        """Reads the manifest."""
        return Manifest.read(self.path)


@dataclass(frozen=True)
class Source:
    """A file or folder of the user's, and the SHA-256 of its content ('' if it does not exist)."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Request:
    """One stage to run.

    `settings` is the stage's own slice of the spec with every default filled in. `inputs` are upstream stages by
    stage name. `sources` are the user's files by role. `toolchain` holds the versions of the packages that the
    stage uses, `code` the digest of every module that it imports. `threads` is the number of threads to compute with:
    sums of floats depend on it. The artifacts will be published in `folder`. `work` is the scratch folder of this
    request: it survives a killed build. The user's modules are imported from `project`; fetched files stay in
    `downloads`.
    """

    stage: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Input]
    sources: Mapping[str, Source]
    toolchain: Mapping[str, str]
    code: str
    threads: int
    project: Path
    downloads: Path
    folder: Path
    work: Path

    @property
    def identity(self) -> dict[str, Any]:
        """All that can influence the result, as plain data; `explain` compares it."""
        return {
            "stage": self.stage,
            "settings": self.settings,
            "inputs": {name: each.sha256 for name, each in self.inputs.items()},
            "sources": {name: each.sha256 for name, each in self.sources.items()},
            "toolchain": self.toolchain,
            "code": self.code,
            "threads": self.threads,
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 of the identity: two requests with one key have one result."""
        return hashlib.sha256(canonical_json(self.identity).encode()).hexdigest()

    def with_work_below(self, folder: Path) -> Request:
        """The request with its scratch folder below `folder`, named after its key."""
        made = replace(self, work=folder / f"{self.stage}-{self.key[:16]}")
        made.__dict__["key"] = self.key  # The scratch folder is no part of it.
        return made

    @cached_property
    def out(self) -> Path:
        """The folder for artifacts that will be published."""
        return self.work / "out"

    @property
    def console(self) -> Path:
        """The file that progress goes to, as lines of exchange/activity.py, if it exists; else to the terminal."""
        return self.work / "console"

    @staticmethod
    def path_of(folder: Path, stage: str) -> Path:
        """The path of the request that made the artifacts in `folder`."""
        return folder / f"{stage}.request.json"

    def to_json(self, **more: object) -> str:
        """The request as JSON for the worker, with `more` members at its end."""
        fields = {
            **self.identity,
            "inputs": {name: [str(each.path), each.sha256] for name, each in self.inputs.items()},
            "sources": {name: [str(each.path), each.sha256] for name, each in self.sources.items()},
            "project": str(self.project),
            "downloads": str(self.downloads),
            "folder": str(self.folder),
            "work": str(self.work),
        }
        return lined_json({**fields, **more})

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Reads the request that `to_json` wrote; ValueError for any other text."""
        return cls.of(parse_json(text))

    @classmethod
    def read(cls, path: Path) -> Request:
        """Reads the file that `to_json` wrote; OSError if it cannot be read, ValueError for any other text."""
        return cls.of(read_json(path))

    @classmethod
    def of(cls, fields: Any) -> Request:
        """Makes the request from the fields that `to_json` writes; ValueError for anything else."""
        try:
            return cls(
                stage=str(fields["stage"]),
                settings={**fields["settings"]},
                inputs={name: Input(Path(path), str(sha256)) for name, (path, sha256) in fields["inputs"].items()},
                sources={name: Source(Path(path), str(sha256)) for name, (path, sha256) in fields["sources"].items()},
                toolchain={name: str(version) for name, version in fields["toolchain"].items()},
                code=str(fields["code"]),
                threads=fields["threads"],
                project=Path(fields["project"]),
                downloads=Path(fields["downloads"]),
                folder=Path(fields["folder"]),
                work=Path(fields["work"]),
            )
        except (KeyError, TypeError, AttributeError) as fault:
            raise ValueError(f"not a request: {fault}") from fault
