"""Must this stage run, and why? Every answer "yes" carries its reasons.

A stage is up to date if and only if the request that led to its artifacts is the request of now, and the artifacts are
as they were published. Both are on the disk beside the artifacts; no other memory is needed to be right.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from qatbuild.artifact import Digests, Manifest, canonical_json, publish, write_text
from qatbuild.code import Code
from qatbuild.errors import ArtifactError, StageError
from qatbuild.plan import Stage
from qatbuild.request import Input, Request, Source


@dataclass
class Rebuilder:
    """Turns a planned stage into a request, and compares it with the one that built what is there."""

    project: Path
    build: Path
    digests: Digests
    code: Code

    @classmethod
    def of(cls, project: Path, build: Path) -> Rebuilder:
        """A rebuilder for the project at `project` with its artifacts below `build`."""
        memory = build / ".qatbuild"
        return cls(project, build, Digests.load(memory / "digests.json"), Code.load(project, memory / "code.json"))

    def folder(self, stage: Stage) -> Path:
        """Where the stage's artifacts live."""
        return self.build / stage.home

    def manifest_path(self, stage: Stage) -> Path:
        """The stage's manifest: the target of its task."""
        return Manifest.path_of(self.folder(stage), stage.name)

    def request(self, stage: Stage, inputs: Mapping[str, Stage]) -> Request:
        """The request of now. `inputs` are the upstream stages by role; they must have been built."""
        given = {role: self._input(upstream) for role, upstream in inputs.items()}
        sources = {role: Source(Path(path), self.source_sha256(Path(path))) for role, path in stage.sources.items()}
        draft = Request(
            stage.name, stage.settings, given, sources, toolchain(stage.packages), self.code.digest(stage.modules),
            self.project, self.folder(stage), Path(),
        )  # fmt: skip
        work = self.build / "work" / f"{stage.name}-{draft.key[:16]}"
        return Request(**{**{name: getattr(draft, name) for name in draft.__dataclass_fields__}, "work": work})

    def stale(self, request: Request) -> list[str]:
        """Why the stage must run, in words; empty if it is up to date."""
        try:
            manifest = Manifest.read(Manifest.path_of(request.folder, request.stage))
            former = Request.from_json(Request.path_of(request.folder, request.stage).read_text(encoding="utf-8"))
        except (ArtifactError, OSError, ValueError, KeyError):
            return ["not built yet"]
        changes = differences(former.identity, request.identity)
        return changes or manifest.damage(self.digests)

    def publish(self, request: Request) -> Manifest:
        """Move what the worker left into place; StageError, and nothing recorded, if an input changed meanwhile."""
        for role, given in request.inputs.items():
            if hashlib.sha256(given.path.read_bytes()).hexdigest() != given.sha256:
                raise _changed(request, role, given.path)
        for role, source in request.sources.items():
            if self.source_sha256(source.path) != source.sha256:
                raise _changed(request, role, source.path)
        made = Manifest.read(Manifest.path_of(request.work, request.stage))
        manifest = publish(Manifest(made.stage, request.out, made.files, made.facts), request.folder)
        write_text(Request.path_of(request.folder, request.stage), request.to_json())
        self.save()
        return manifest

    def source_sha256(self, path: Path) -> str:
        """SHA-256 of a file, a folder, or a checkpoint (named by its prefix); '' if there is nothing."""
        if path.exists():
            return self.digests.tree_sha256(path)
        parts = sorted(path.parent.glob(f"{path.name}.*")) if path.parent.is_dir() else []
        rows = [[part.name, self.digests.sha256(part)] for part in parts if part.is_file()]
        return hashlib.sha256(canonical_json(rows).encode()).hexdigest() if rows else ""

    def save(self) -> None:
        """Write the remembered digests. They are a shortcut: it is no error if they cannot be written."""
        try:
            self.digests.save()
            self.code.save()
        except OSError:
            return

    def _input(self, upstream: Stage) -> Input:
        path = self.manifest_path(upstream)
        try:
            return Input(path, hashlib.sha256(path.read_bytes()).hexdigest())
        except OSError as fault:
            raise ArtifactError(f"The stage {upstream.id} has not been built.", [("missing", path)]) from fault


def differences(former: Any, now: Any, path: str = "") -> list[str]:
    """What changed between two identities: 'train.steps: 100 -> 200', 'code', 'input dataset'."""
    if isinstance(former, Mapping) and isinstance(now, Mapping):
        names = sorted({*former, *now})
        return [
            line
            for name in names
            for line in differences(former.get(name), now.get(name), f"{path}.{name}" if path else name)
        ]
    if canonical_json(former) == canonical_json(now):
        return []
    area, _, rest = path.partition(".")
    match area:
        case "code":
            return ["the code changed"]
        case "inputs" | "sources":
            return [f"{area[:-1]} {rest} changed"]
        case "settings":
            return [f"{rest}: {canonical_json(former)} -> {canonical_json(now)}"]
        case _:
            return [f"{rest or area}: {former} -> {now}"]


def toolchain(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of what a stage computes with. A package that is not installed has the version ''."""
    return {"python": ".".join(platform.python_version_tuple()[:2]), **{name: _version(name) for name in packages}}


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _changed(request: Request, role: str, path: Path) -> StageError:
    facts: list[tuple[str, object]] = [("input", role), ("path", os.path.relpath(path))]
    return StageError(
        f"An input of {request.stage} changed while it ran; nothing was recorded.", facts, "run doit again"
    )
