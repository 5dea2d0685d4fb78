"""Packs a request for another machine: finds the files that it needs, and sends their content ahead."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from qatbuild.engine.code_digest import Code
from qatbuild.engine.digests import Digests
from qatbuild.engine.execute.dask.blobs import Blobs, Content
from qatbuild.engine.execute.dask.parcel import Parcel
from qatbuild.engine.source import checkpoint_parts
from qatbuild.engine.walk import tree
from qatbuild.exchange.errors import StageError
from qatbuild.exchange.files import canonical_json
from qatbuild.exchange.request import Request


class Package(NamedTuple):
    """A parcel, and by digest the files and texts of this machine whose content it names."""

    parcel: Parcel
    files: dict[str, Path]
    texts: dict[str, str]


class Packer:
    """Packs the requests of a project. Threads may share it."""

    def __init__(self, code: Code, digests: Digests, blobs: Blobs) -> None:
        """Packs with the code and digests of a build."""
        self._code = code
        self._digests = digests
        self._blobs = blobs
        self._own_files: dict[tuple[str, ...], dict[str, str]] = {}

    def pack(self, request: Request) -> Package:
        """Sends what the request needs. OSError for a file that cannot be read, or a cache that cannot be reached.

        Sources outside of the project are sent only when a worker lacks them: data on a shared disk are there already.
        """
        modules = self._code.modules(request.code)
        paths = (source.path for source in request.sources.values())
        sources = {path: self._contents(_files_of(path)) for path in paths}
        files = self._contents(self._needed(request, modules))
        sent, folders, texts = {**files}, dict[str, Content](), dict[str, str]()
        for path, contents in sources.items():
            if path.is_relative_to(request.project):
                sent |= contents
            if path.is_dir():
                text = canonical_json({file[len(str(path)) + 1 :]: content for file, content in contents.items()})
                folders[str(path)] = self._blobs.send_text(text)
                texts[folders[str(path)].sha256] = text
            else:
                files |= contents
        self._blobs.send((Path(file), content) for file, content in sent.items())
        origins = {each.sha256: Path(file) for rows in (files, *sources.values()) for file, each in rows.items()}
        parcel = Parcel(request, modules, self._own(modules), files, folders, self._blobs.remote.place)
        return Package(parcel, origins, texts)

    def send_again(self, package: Package, lacking: tuple[str, ...]) -> None:
        """Sends what a worker lacks. StageError for a file that has changed since it was packed."""
        for text in filter(None, map(package.texts.get, lacking)):
            self._blobs.send_text(text, again=True)
        files = [(digest, package.files[digest]) for digest in lacking if digest in package.files]
        for digest, file in files:
            if self._digests.sha256(file) != digest:
                facts = [("stage", package.parcel.request.stage), ("file", file)]
                raise StageError("An input changed while it was sent; nothing was recorded.", facts, "run doit again")
        self._blobs.send(((file, Content(file.stat().st_size, digest)) for digest, file in files), again=True)

    def _needed(self, request: Request, modules: tuple[str, ...]) -> Iterator[Path]:
        """Yields the artifacts of the inputs with their manifests, and the user's own code."""
        for each in request.inputs.values():
            yield each.path
            yield from (each.path.parent / name for name in each.manifest.files)
        package = self._code.package
        yield from (file for file in map(Path, self._code.files(modules)) if not file.is_relative_to(package))

    def _own(self, modules: tuple[str, ...]) -> dict[str, str]:
        """Returns the digests of qatbuild's files among those of a code digest, by path below its folder."""
        if modules not in self._own_files:
            top = self._code.package
            files = (file for file in map(Path, self._code.files(modules)) if file.is_relative_to(top))
            self._own_files[modules] = {str(file.relative_to(top)): self._digests.sha256(file) for file in files}
        return self._own_files[modules]

    def _contents(self, files: Iterator[Path]) -> dict[str, Content]:
        return {str(file): Content(file.stat().st_size, self._digests.sha256(file)) for file in files}


def _files_of(path: Path) -> Iterator[Path]:
    """Yields the files of a source, none if it does not exist, which the stage reports."""
    if path.is_dir():
        yield from (file for file in map(Path, tree(str(path))[1]) if file.is_file())
    else:
        yield from [path] if path.is_file() else checkpoint_parts(path)
