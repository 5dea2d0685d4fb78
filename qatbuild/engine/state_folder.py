"""The files below build/.qatbuild, which the engine keeps between builds. Deleting one only costs time."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class StateFolder(NamedTuple):
    """Paths of the files in one state folder."""

    path: Path

    @classmethod
    def of(cls, build: Path) -> StateFolder:
        """Returns the state folder of a build folder."""
        return cls(build / ".qatbuild")

    @property
    def lock(self) -> Path:
        """The lock that a process holds while it changes the build folder."""
        return self.path / "lock"

    @property
    def record(self) -> Path:
        """The specs that were up to date, and the files on which that depends (up_to_date_record)."""
        return self.path / "record"

    @property
    def pages(self) -> Path:
        """The rendered parts of report.html and junit.xml (report/pages)."""
        return self.path / "pages"

    @property
    def failures(self) -> Path:
        """The stages that failed in their last run (report/failures)."""
        return self.path / "failures.json"

    @property
    def labels(self) -> Path:
        """The labels that the report lists, with their routes (report/models)."""
        return self.path / "labels.json"

    @property
    def files(self) -> Path:
        """Digests and fingerprints of files, by their state (file_cache)."""
        return self.path / "files.db"

    @property
    def doit(self) -> Path:
        """The state of doit itself (plugin/state)."""
        return self.path / "doit.db"

    @property
    def dask(self) -> Path:
        """The folder of a Dask cluster of this machine, while it runs (execute/dask)."""
        return self.path / "dask"

    @property
    def valid_documents(self) -> Path:
        """Digests of valid documents (schema/faults)."""
        return self.path / "sound"

    @property
    def partial(self) -> Path:
        """Blobs that arrive from another machine, by digest (store/partial)."""
        return self.path / "partial"

    @property
    def origins(self) -> Path:
        """What every published result was made from (history/log)."""
        return self.path / "origins"

    @property
    def code(self) -> Path:
        """The folder of the modules behind code digests (history/code_archive)."""
        return self.path / "code"
