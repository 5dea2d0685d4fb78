"""Unpacks a parcel: the files of its request, at the distances of its sender's machine, below a scratch folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qatbuild.engine.digests import Digests
from qatbuild.engine.execute.dask.blobs import Contents, Shelf
from qatbuild.engine.execute.dask.parcel import Parcel, contents, moved
from qatbuild.engine.source import checkpoint_parts, source_sha256
from qatbuild.exchange.errors import QatbuildError
from qatbuild.exchange.files import make_folder, read_json
from qatbuild.exchange.request import Request


class Unpacker:
    """Unpacks parcels on one machine. Blobs come from its shelf; fetched datasets stay in `downloads`."""

    def __init__(self, shelf: Shelf, downloads: Path, digests: Digests) -> None:
        """Unpacks with the digests of this machine's own files."""
        self._shelf = shelf
        self._downloads = downloads
        self._digests = digests

    def unpack(self, parcel: Parcel, root: Path) -> list[str]:
        """Puts all files of a parcel below `root`; returns the digests of the blobs that are missing."""
        self._shelf.make_room()
        request = moved(parcel.request, root)
        for folder in (request.project, request.folder, request.work, request.downloads.parent, self._downloads):
            make_folder(folder)
        request.downloads.symlink_to(self._downloads)
        files = {**parcel.files}
        for source in self._sources_here(parcel.request):
            link = Path(f"{root}{source}")
            make_folder(link.parent)
            link.symlink_to(source)
            files.pop(str(source), None)
        for path, content in parcel.folders.items():
            if not (folder := Path(f"{root}{path}")).is_symlink():
                make_folder(folder)
                listing = root / f"{content.sha256}.json"
                if lacks := self._shelf.put([(listing, content)]):
                    return lacks
                files |= _listed(path, listing)
        return self._shelf.put((Path(f"{root}{path}"), content) for path, content in files.items())

    def _sources_here(self, request: Request) -> Iterator[Path]:
        """Yields the sources outside of the project that this machine has, with the same content: on a shared disk."""
        for source in request.sources.values():
            if (
                source.sha256
                and not source.path.is_relative_to(request.project)
                and self._has(source.path, source.sha256)
            ):
                yield from [source.path] if source.path.exists() else checkpoint_parts(source.path)
        self._digests.cache.save_if_due()

    def _has(self, path: Path, sha256: str) -> bool:
        try:
            return source_sha256(path, self._digests) == sha256
        except QatbuildError:
            return False


def _listed(folder: str, listing: Path) -> Contents:
    """Returns the content of a folder's files by path."""
    return {f"{folder}/{name}": content for name, content in contents(read_json(listing)).items()}
