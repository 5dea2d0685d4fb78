"""Must this stage run, and why? Every answer "yes" carries its reasons.

A stage is up to date if and only if the request that led to its artifacts is the request of now, and the artifacts are
as they were published. Both are on the disk beside the artifacts; no other memory is needed to be right.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path

from qatbuild.engine.code_digest import Code
from qatbuild.engine.digests import Digests
from qatbuild.engine.plan import Stage
from qatbuild.engine.publish import publish
from qatbuild.engine.reason import Reason, changes
from qatbuild.exchange.errors import ArtifactError, StageError
from qatbuild.exchange.files import canonical_json, write_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Input, Request, Source


@dataclass
class Rebuilder:
    """Turns a planned stage into a request, and compares it with the one that built what is there."""

    project: Path
    build: Path
    threads: int
    digests: Digests
    code: Code
    modules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Code digest -> the modules that it was asked for, of the requests made so far."""
    intact: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    """Manifests that were found to be those of their request, with the names of their artifacts, all as published."""

    @classmethod
    def of(cls, project: Path, build: Path, threads: int) -> Rebuilder:
        """A rebuilder for the project at `project` with its artifacts below `build`; stages compute with `threads`."""
        memory = build / ".qatbuild"
        digests = Digests.load(memory / "files.db")
        return cls(project, build, threads, digests, Code.load(project, memory / "files.db"))

    def folder(self, stage: Stage) -> Path:
        """Where the stage's artifacts live."""
        return self.build / stage.home

    def manifest_path(self, stage: Stage) -> Path:
        """The stage's manifest: the target of its task."""
        return Manifest.path_of(self.folder(stage), stage.name)

    def request(self, stage: Stage, inputs: Mapping[str, Stage]) -> Request:
        """The request of now. `inputs` are the upstream stages by role; they must have been built."""
        return self.draft(stage, {role: self.input(upstream) for role, upstream in inputs.items()})

    def draft(self, stage: Stage, given: Mapping[str, Input]) -> Request:
        """The request for a stage with these inputs by role, whatever they are."""
        sources = {role: Source(Path(path), self.source_sha256(Path(path))) for role, path in stage.sources.items()}
        code = self.code.digest(stage.modules)
        self.modules[code] = stage.modules
        draft = Request(
            stage=stage.name,
            settings=stage.settings,
            inputs=given,
            sources=sources,
            toolchain=toolchain(stage.packages),
            code=code,
            threads=self.threads,
            project=self.project,
            downloads=self.build / "downloads",
            folder=self.folder(stage),
            work=Path(),
        )
        return replace(draft, work=self.build / "work" / stage.home / f"{stage.name}-{draft.key[:16]}")

    def stale(self, request: Request) -> list[Reason]:
        """Why the stage must run; empty if it is up to date."""
        path, record = Manifest.path_of(request.folder, request.stage), Request.path_of(request.folder, request.stage)
        try:
            manifest, text = Manifest.read_with_text(path)
            fields = json.loads(record.read_text(encoding="utf-8"))
            former = Request.of(fields)
        except (ArtifactError, OSError, ValueError):
            return [Reason("never")]
        self.intact.pop(path, None)
        reasons = changes(former, request, self.code_table)
        if not reasons and fields.get("seal") != _seal(former, text):
            reasons = [Reason("artifact", path.name, now=f"not what {record.name} led to")]
        reasons = reasons or [
            Reason("artifact", name, now=how)
            for name, _, how in (fault.rpartition(": ") for fault in self.digests.damage(manifest))
        ]
        if not reasons:
            self.intact[path] = tuple(manifest.files)
        return reasons

    def publish(self, request: Request, stage: Stage) -> Manifest:
        """Move what the worker left into place; StageError, and nothing recorded, if an input changed meanwhile."""
        for role, given in request.inputs.items():
            data = given.path.read_bytes()
            is_same = hashlib.sha256(data).hexdigest() == given.sha256
            if not is_same or self.digests.damage(Manifest.parse(data, given.path.parent)):
                raise _changed(request, role, given.path.parent)
        for role, source in request.sources.items():
            if self.source_sha256(source.path) != source.sha256:
                raise _changed(request, role, source.path)
        if self.code.digest_now(stage.modules) != request.code:
            raise _changed(request, "code", self.project)
        self._keep_table(request.code)
        file = Manifest.path_of(request.work, request.stage)
        made, text = Manifest.read_with_text(file)
        record = (Request.path_of(request.folder, request.stage), request.to_json(seal=_seal(request, text)))
        manifest = publish(replace(made, folder=request.out), file, request.folder, record)
        self.save()
        return manifest

    def code_table(self, digest: str) -> dict[str, str]:
        """Module -> fingerprint of a digest of now, or that something here was built with; empty if it is not known."""
        if digest in self.modules:
            return self.code.table(self.modules[digest])
        try:
            return dict(json.loads(self._table_path(digest).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def _keep_table(self, digest: str) -> None:
        """Write what a digest is made of, so that a later build can name the module that changed."""
        path = self._table_path(digest)
        if not path.exists():
            with contextlib.suppress(OSError):
                write_text(path, json.dumps(self.code_table(digest)))

    def _table_path(self, digest: str) -> Path:
        return self.build / ".qatbuild" / "code" / f"{digest}.json"

    def source_sha256(self, path: Path) -> str:
        """SHA-256 of a file, a folder, or a checkpoint (named by its prefix); '' if there is nothing."""
        if path.exists():
            return self.digests.tree_sha256(path)
        parts = sorted(path.parent.glob(f"{glob.escape(path.name)}.*")) if path.parent.is_dir() else []
        rows = [[part.name, self.digests.sha256(part)] for part in parts if part.is_file()]
        return hashlib.sha256(canonical_json(rows).encode()).hexdigest() if rows else ""

    def save(self) -> None:
        """Write the remembered digests. They are a shortcut: it is no error if they cannot be written."""
        self.digests.save()
        self.code.save()

    def input(self, upstream: Stage) -> Input:
        """What a stage is given of one before it, as it is now; ArtifactError if that has not been built."""
        path = self.manifest_path(upstream)
        try:
            return Input(path, hashlib.sha256(path.read_bytes()).hexdigest())
        except OSError as fault:
            raise ArtifactError(f"The stage {upstream.id} has not been built.", [("missing", path)]) from fault


def _seal(request: Request, manifest: str) -> str:
    """What binds a request to the manifest that it led to, so that neither is believed if it was edited."""
    return hashlib.sha256(f"{request.key}\n{manifest}".encode()).hexdigest()


def toolchain(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of what a stage computes with. A package that is not installed has the version ''."""
    versions = {"python": ".".join(platform.python_version_tuple()[:2]), **{name: _version(name) for name in packages}}
    # Which devices TensorFlow may see decides where, and so in which order, it sums.
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    return versions if devices is None else {**versions, "CUDA_VISIBLE_DEVICES": devices}


@cache
def _version(package: str) -> str:
    try:
        about = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return ""
    for line in (about.read_text("METADATA") or "").split("\n\n", 1)[0].splitlines():  # The mail parser takes longer.
        name, _, value = line.partition(":")
        if name.lower() == "version":
            return value.strip()
    return about.version


def _changed(request: Request, role: str, path: Path) -> StageError:
    facts: list[tuple[str, object]] = [("input", role), ("path", os.path.relpath(path))]
    return StageError(
        f"An input of {request.stage} changed while it ran; nothing was recorded.", facts, "run doit again"
    )
