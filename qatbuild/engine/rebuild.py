"""Decides whether a stage must run. Every "yes" carries its reasons.

A stage is up to date if and only if the request that made its artifacts equals the current request, and the artifacts
are as they were published. Both are on the disk beside the artifacts; all other state only saves time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.code_digest import Code
from qatbuild.engine.digests import Digests
from qatbuild.engine.history.code_archive import CodeArchive
from qatbuild.engine.history.log import OriginLog
from qatbuild.engine.history.makers import Makers
from qatbuild.engine.history.origin import Origin
from qatbuild.engine.plan import Stage
from qatbuild.engine.publish import publish, show_refused
from qatbuild.engine.reason import Reason, changes
from qatbuild.engine.recorded import recorded
from qatbuild.engine.source import source_sha256
from qatbuild.engine.state_folder import StateFolder
from qatbuild.exchange.errors import ArtifactError, StageError
from qatbuild.exchange.files import file_sha256, parse_json, read_bytes, read_text
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.published import NO_MANIFEST, Record, described, expected, run_path, undigested
from qatbuild.exchange.request import Input, Request, Source

_MOST_PLACES = 5_000
"""Places that are kept in memory; a build of thousands of models asks for most within one stretch of time."""


_MOST_PUBLISHED = 500
"""Manifests that are kept in memory: most are read by the next stages of a model."""


class Freshness(NamedTuple):
    """Whether a stage is up to date: the reasons if not, else the names of its artifacts, all verified as published.

    Artifacts that are `elsewhere` are in a cache, and missing here.
    """

    reasons: list[Reason]
    artifacts: tuple[str, ...] = ()
    elsewhere: bool = False


class Publication(NamedTuple):
    """A stage's published manifest with its text, its record, its origin, and the digest of manifest and record."""

    manifest: Manifest
    text: str
    record: Record
    origin: Origin
    texts_sha256: bytes


class Place(NamedTuple):
    """The place of a stage's results: the folder, its manifest, and the record of the request that made them."""

    folder: Path
    manifest: Path
    record: Path


@dataclass(frozen=True)
class Rebuilder:
    """Turns a planned stage into a request, and compares it with the request that made the artifacts."""

    project: Path
    build: Path
    threads: int
    digests: Digests
    code: Code
    _places: dict[str, Place] = field(default_factory=dict)
    _published: dict[Input, Manifest] = field(default_factory=dict)
    """Manifests that this process published, as their text was then; later stages read each several times."""

    @classmethod
    def of(cls, project: Path, build: Path, threads: int) -> Rebuilder:
        """Makes a rebuilder for the project at `project` with artifacts below `build`; stages use `threads` threads."""
        files = StateFolder.of(build).files
        return cls(project, build, threads, Digests.load(files), Code.load(project, files))

    @cached_property
    def _origins(self) -> OriginLog:
        return OriginLog(StateFolder.of(self.build).origins)

    @cached_property
    def _makers(self) -> Makers:
        return Makers()

    @cached_property
    def _archive(self) -> CodeArchive:
        return CodeArchive(StateFolder.of(self.build).code)

    @cached_property
    def _downloads(self) -> Path:
        return self.build / "downloads"

    @cached_property
    def _scratch(self) -> Path:
        return self.build / "work"

    def place(self, stage: Stage) -> Place:
        """Returns the place of the stage's results."""
        place = self._places.get(stage.id)
        if place is None:
            folder = self.build / stage.home
            place = Place(folder, Manifest.path_of(folder, stage.name), Request.path_of(folder, stage.name))
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[stage.id] = place
        return place

    def manifest_path(self, stage: Stage) -> Path:
        """Returns the path of the stage's manifest, which is the target of its task."""
        return self.place(stage).manifest

    def request(self, stage: Stage, inputs: Mapping[str, Stage]) -> Request:
        """Returns the current request. `inputs` are the upstream stages by role; they must have been built."""
        return self.draft(stage, {role: self.input(upstream) for role, upstream in inputs.items()})

    def draft(self, stage: Stage, inputs: Mapping[str, Input]) -> Request:
        """Returns the request for a stage with these inputs by role."""
        paths = {role: Path(path) for role, path in stage.sources.items()}
        folder = self.place(stage).folder
        draft = Request(
            stage=stage.name,
            settings=stage.settings,
            inputs=inputs,
            sources={role: Source(path, source_sha256(path, self.digests)) for role, path in paths.items()},
            toolchain=toolchain(stage.packages, os.environ.get("CUDA_VISIBLE_DEVICES")),
            code=self.code.digest(stage.modules),
            threads=self.threads,
            project=self.project,
            downloads=self._downloads,
            folder=folder,
            work=folder,
        )
        return draft.with_work_below(self._scratch / stage.home)

    def freshness(self, request: Request) -> Freshness:
        """Compares a request with the one that made the artifacts, and the artifacts with their manifest."""
        record = Request.path_of(request.folder, request.stage)
        try:
            text = read_text(Manifest.path_of(request.folder, request.stage))
            manifest = Manifest.parse(text, request.folder)
            former = Record.read(record)
        except (OSError, ValueError):
            return Freshness([Reason("never")])
        if reasons := changes(former.request, request, self.code_table):
            if not self._origins.has(former.request.key):  # The build that made it was killed.
                self._origins.keep(Origin.of(former.request, text, {}))
            return Freshness(reasons)
        if not former.belongs_to(text):
            manifest_name = f"{request.stage}.manifest.json"
            return Freshness([Reason("artifact", manifest_name, now=f"does not belong to {record.name}")])
        complete = former.expected(manifest)
        faults = [fault.rpartition(": ") for fault in self.digests.damage(complete)]
        faults += [(name, "", "its digest is not on record") for name in undigested(complete)]
        if reasons := [Reason("artifact", name, now=how) for name, _, how in faults]:
            return Freshness(reasons)
        return Freshness([], tuple(manifest.files), former.elsewhere)

    def publish(self, request: Request, stage: Stage, *, ran: bool, processor: str = "") -> Publication:
        """Moves the artifacts of a stage that `ran`, or was restored, into place; `processor` is what it ran on.

        A restored stage without any of its artifacts is recorded as elsewhere.
        StageError, without a record, if an input changed while the stage ran.
        """
        for role, path in self._changed_inputs(request, stage) if ran else ():
            raise _changed(request, role, path)
        file = Manifest.path_of(request.work, request.stage)
        made, text = Manifest.read_with_text(file)
        measured = described(request.out, undigested(made))
        made = replace(made, folder=request.out)
        elsewhere = not ran and bool(made.files) and not any(map(os.path.lexists, _paths(made)))
        ran_sha256 = _ran_sha256(request) if ran else ""
        record = Record.sealed(request, text, measured, ran_sha256, elsewhere=elsewhere, processor=processor)
        place, lines = self.place(stage), record.to_json()
        origin = self._remember(request, text)
        manifest = publish(made, file, place.folder, (place.record, lines), elsewhere=elsewhere)
        self.save_if_due()
        self._makers.remember(place.manifest, origin.result, request.key)
        if len(self._published) >= _MOST_PUBLISHED:
            self._published.clear()
        self._published[Input(place.manifest, origin.result)] = manifest
        return Publication(manifest, text, record, origin, _both(text.encode(), lines.encode()))

    def is_unchanged(self, request: Request, stage: Stage) -> bool:
        """Returns whether all inputs of a stage are as its request says."""
        return not any(self._changed_inputs(request, stage))

    def _changed_inputs(self, request: Request, stage: Stage) -> Iterator[tuple[str, Path]]:
        """Yields role and path of each input that is not as the request says."""
        for role, upstream in request.inputs.items():
            if not self._is_unchanged(upstream):
                yield role, upstream.path.parent
        for role, source in request.sources.items():
            if source_sha256(source.path, self.digests) != source.sha256:
                yield role, source.path
        if self.code.digest_now(stage.modules) != request.code:
            yield "code", self.project

    def refuse(self, request: Request) -> None:
        """Moves the worker's artifacts into place without a manifest: a refused model does not count as built.

        Its record has the digests of all of them, so that the report shows no other.
        """
        names = [path.relative_to(request.out).as_posix() for path in request.out.rglob("*") if path.is_file()]
        record = Record.sealed(request, NO_MANIFEST, described(request.out, names)).to_json()
        record_path = Request.path_of(request.folder, request.stage)
        self._remember(request, NO_MANIFEST)
        show_refused(request.stage, request.out, request.folder, (record_path, record))

    def _remember(self, request: Request, manifest: str) -> Origin:
        """Keeps what a result was made from, so that a later build can name what changed."""
        if not self._archive.has(request.code):
            self._archive.keep(request.code, self.code.closure(self.code.modules(request.code)))
        origin = Origin.of(request, manifest, self._makers.of(request))
        self._origins.keep(origin)
        return origin

    def artifacts(self, stage: Stage, texts_sha256: bytes) -> tuple[str, ...]:
        """Returns the names of the artifacts that this process published, if they have not changed since.

        ArtifactError if a file was changed since.
        """
        folder, manifest, record = self.place(stage)
        text, record_text = read_bytes(manifest), read_bytes(record)
        if _both(text, record_text) == texts_sha256:
            published = Manifest.parse(text, folder)
            if not self.digests.damage(expected(published, parse_json(record_text))):
                return tuple(published.files)
        raise ArtifactError(f"The results of {stage.id} were changed.", [("folder", folder)])

    def _is_unchanged(self, upstream: Input) -> bool:
        """Returns whether an input's manifest is that of the request, and its artifacts are as published."""
        try:
            data = read_bytes(upstream.path)
            if hashlib.sha256(data).hexdigest() != upstream.sha256:
                return False
            manifest = self._published.get(upstream) or Manifest.parse(data, upstream.path.parent)
        except (OSError, ValueError):
            return False
        if not self.digests.damage(manifest):
            return True
        record = recorded(Request.path_of(manifest.folder, manifest.stage))
        return record is not None and record.elsewhere and not self.digests.damage(record.expected(manifest))

    def is_elsewhere(self, stage: Stage) -> bool:
        """Returns whether a stage's artifacts are missing here, and in a cache."""
        record = recorded(self.place(stage).record)
        return record is not None and record.elsewhere

    def code_table(self, digest: str) -> Mapping[str, str]:
        """Returns module -> fingerprint for a code digest; empty if its modules are not recorded.

        The digest is one of this process, or one of an artifact of this build folder.
        """
        with contextlib.suppress(KeyError):
            return self.code.table(self.code.modules(digest))
        return self._archive.table(digest)

    def save(self) -> None:
        """Writes the cached digests. They only save time: a failure is ignored."""
        self.digests.cache.save()
        self.code.cache.save()
        if "_origins" in self.__dict__:
            self._origins.flush()

    def save_if_due(self) -> None:
        """Writes the cached digests, at most once a second: small stages take less time than a write."""
        self.digests.cache.save_if_due()
        self.code.cache.save_if_due()

    def input(self, upstream: Stage) -> Input:
        """Returns an upstream stage's current manifest as an input. ArtifactError if the stage has not been built."""
        path = self.manifest_path(upstream)
        try:
            return Input(path, hashlib.sha256(read_bytes(path)).hexdigest())
        except OSError as fault:
            raise ArtifactError(f"The stage {upstream.id} has not been built.", [("missing", path)]) from fault


def _paths(manifest: Manifest) -> list[str]:
    return [f"{manifest.folder}/{name}" for name in manifest.files]


def _both(manifest: bytes, record: bytes) -> bytes:
    """Returns one digest for the texts of a manifest and of its record."""
    return hashlib.sha256(hashlib.sha256(manifest).digest() + record).digest()


def _ran_sha256(request: Request) -> str:
    """Returns the digest of run.json, which the worker has written; '' without one."""
    try:
        return file_sha256(run_path(request.folder, request.stage))
    except OSError:
        return ""


@cache
def toolchain(packages: tuple[str, ...], devices: str | None) -> Mapping[str, str]:
    """Returns the versions of Python and of these packages; '' for a missing package.

    `devices` are those that TensorFlow may use, if they are limited: they decide in which order it sums.
    """
    versions = {"python": ".".join(platform.python_version_tuple()[:2]), **{name: _version(name) for name in packages}}
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
    facts = [("input", role), ("path", os.path.relpath(path))]
    message = f"An input of {request.stage} changed while it ran; nothing was recorded."
    return StageError(message, facts, "run doit again")
