"""Verifies a model: every byte from its papers and .tflite back to its dataset, and spec, data and code that are here.

Everything is read anew, no cache is believed. The order is that of the evidence: an evaluation names the manifests that
it read by their digest, each manifest the files of its stage, and so on upstream; at last the papers are derived again.
Without a signature this finds damage and edits, not a forger who recomputes all digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.digests import Digests
from qatbuild.engine.papers import PROVENANCE, SIGNATURE
from qatbuild.engine.papers.chain import Chain, read_chain
from qatbuild.engine.papers.signature import check_signature
from qatbuild.engine.papers.writing import texts
from qatbuild.engine.plan import Stage
from qatbuild.engine.source import source_sha256
from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.files import canonical_json, file_sha256
from qatbuild.exchange.link import Link
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.published import run_path
from qatbuild.exchange.request import Request
from qatbuild.schema.model import About

MISSING = "missing"
"""Stands for the digest of a file that is not there."""


@dataclass
class Verified:
    """What was verified of a model: stages, files with their bytes, and by whom it is signed.

    `absent` are (what, why) that could not be compared on this machine.
    """

    label: str
    stages: int = 0
    files: int = 0
    bytes: int = 0
    signed_by: str = ""
    absent: list[tuple[str, str]] = field(default_factory=list)


class Model(NamedTuple):
    """A model to verify: its label and the name of its task, its planned stages by name, what its spec says of it."""

    label: str
    task: str
    planned: Mapping[str, Stage]
    about: About


class Verifier:
    """Verifies models of one project. What several models share is read once."""

    def __init__(self, project: Path, build: Path, code_sha256: Callable[[tuple[str, ...]], str]) -> None:
        """Makes a verifier; `code_sha256` returns the digest of modules as they are now."""
        self._project = project
        self._build = build
        self._code_sha256 = code_sha256
        self._digests = Digests()
        self._verified: dict[str, tuple[int, int]] = {}
        """Manifest path and digest -> files and bytes of a stage that is as it was published."""

    def verify(self, model: Model, key: Path | None) -> Verified:
        """Verifies a model; `key` is the public key of its signature.

        ArtifactError at the first difference, with the file, the stage, the expected and the actual digest.
        """
        result = Verified(model.label)
        try:
            chain = self._artifacts(model, result)
        except ArtifactError as error:
            raise ArtifactError(error.message, error.facts, f"doit {model.task}") from error
        derived = texts(chain, model.about)
        result.signed_by = check_papers(model.task, chain.home, derived, key)
        if key is None and (chain.home / SIGNATURE).exists():
            result.absent.append(("signature", "no public key was named (--key FILE)"))
        result.files += len(derived)
        result.bytes += sum(len(text.encode()) for text in derived.values())
        return result

    def _artifacts(self, model: Model, result: Verified) -> Chain:
        """Verifies the stages of a model, the last one first, and what they were made from; counts in `result`."""
        chain = self._chain(model.label)
        for link in reversed([*chain.links.values()]):
            files, size_bytes = self._stage(link)
            result.stages += 1
            result.files += files
            result.bytes += size_bytes
            if link.record.elsewhere and files < len(link.manifest.files):
                result.absent.append((f"artifacts of {link.stage}", "they stayed in the cache"))
            result.absent += self._materials(link, model.planned.get(link.stage))
        return chain

    def _chain(self, label: str) -> Chain:
        """Reads the chain, each manifest only after its digest was compared with that in the stage that read it."""
        home = self._build / label
        waiting = [(str(home), "evaluate", "")]
        seen = set[str]()
        while waiting:
            folder, stage, sha256 = waiting.pop()
            file = Manifest.path_of(Path(folder), stage)
            if sha256:
                _compare(stage, file, sha256, _sha256(file))
            if stage not in seen:
                seen.add(stage)
                link = _link(folder, stage)
                waiting += [(where, role, expected) for role, (where, expected) in link.inputs.items()]
        return read_chain(label, home)

    def _stage(self, link: Link) -> tuple[int, int]:
        """Compares record, manifest and files of a stage; returns the number of files and bytes."""
        place = f"{link.folder}/{link.stage} {link.sha256}"
        if place in self._verified:
            return self._verified[place]
        record = Request.path_of(link.folder, link.stage)
        _compare(link.stage, record, link.record.seal, link.record.seal_of(link.text))
        files = link.record.expected(link.manifest).files
        for name, (_, sha256) in files.items():
            _compare(link.stage, link.folder / name, sha256, _sha256(link.folder / name))
        ran = run_path(link.folder, link.stage)
        if link.record.ran and ran.exists():
            _compare(link.stage, ran, link.record.ran, _sha256(ran))
        self._verified[place] = counts = len(files), sum(size_bytes for size_bytes, _ in files.values())
        return counts

    def _materials(self, link: Link, planned: Stage | None) -> Iterator[tuple[str, str]]:
        """Compares spec, code and sources of a stage with those that are here; yields what is not, and why."""
        request = link.record.request
        if planned is None:
            yield f"spec and code of {link.stage}", "the spec plans no such stage now"
        else:
            now, then = (_json_sha256(each) for each in (planned.settings, request.settings))
            _compare(link.stage, "the spec's settings", then, now)
            _compare(link.stage, "the code", request.code, self._code_sha256(planned.modules))
        for role, source in request.sources.items():
            path = self._here(source.path, request.project)
            now = source_sha256(path, self._digests)
            if now or not source.sha256:
                _compare(link.stage, path, source.sha256, now)
            else:
                yield f"{role} of {link.stage}", f"{path} is not on this machine"
        for name, version in request.toolchain.items():
            yield from _package(name, version)

    def _here(self, path: Path, project: Path) -> Path:
        """Returns where a file of the project that built a model is in this one."""
        return self._project / path.relative_to(project) if path.is_relative_to(project) else path


def check_papers(task: str, home: Path, derived: Mapping[str, str], key: Path | None) -> str:
    """Compares the papers in a model's folder with `derived`, then the signature with the statement.

    Returns the id of the key that signed it, '' without a public key. ArtifactError for the first difference.
    """
    hint = f"doit {task}:evaluate"
    for name, text in derived.items():
        expected = hashlib.sha256(text.encode()).hexdigest()
        _compare("papers", home / name, expected, _sha256(home / name), hint)
    file = home / SIGNATURE
    return check_signature(file, derived[PROVENANCE].encode(), key) if key is not None or file.exists() else ""


def _link(folder: str, stage: str) -> Link:
    try:
        return Link.read(folder, stage)
    except ArtifactError as error:
        raise ArtifactError(error.message, [("stage", stage), *error.facts]) from error


def _compare(stage: str, what: Path | str, expected: str, actual: str, hint: str = "") -> None:
    """Raises ArtifactError if two digests differ."""
    if actual != expected:
        facts = [("file", what), ("stage", stage), ("expected", expected or MISSING), ("actual", actual or MISSING)]
        raise ArtifactError("A model is not what its papers say.", facts, hint)


def _sha256(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError:
        return MISSING


def _json_sha256(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _package(name: str, version: str) -> Iterator[tuple[str, str]]:
    """Yields a package of which this machine has another version, or none."""
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return
    if installed != version:
        yield f"{name} {version}", f"{name} {installed} is installed"
