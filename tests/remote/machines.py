"""Machines that share a cache, each with a local store, and results that they keep."""

from __future__ import annotations

from pathlib import Path

from qatbuild.engine.history.origin import Origin
from qatbuild.engine.store.local import LocalStore
from qatbuild.engine.store.remote import Limits, connect
from qatbuild.engine.store.shared import SharedStore
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request

AT_ONCE = Limits(timeout_s=60, attempts=3, pause_s=0.0, lost_s=600)
"""Limits without pauses."""

CONTENT = {"model.tflite": b"TFL3" * 50_000, "labels.txt": b"zero\none\n", "report.json": b"{}", "events/log": b"..."}


class Machine:
    """A machine with a store that uses the cache at a URL."""

    def __init__(self, root: Path, url: str, *, is_written: bool = True, limits: Limits = AT_ONCE) -> None:
        self.root = root
        self.local = LocalStore(root / "store", root, root / "build")
        self.said: list[str] = []
        self.store = SharedStore(
            self.local, connect(url, limits), root / "partial", is_written=is_written, say=self.said.append
        )

    def request(self, steps: int = 20) -> Request:
        here = self.root
        return Request("convert", {"steps": steps}, {}, {}, {}, "code", 2, here, here, here / "net", here / "work")

    def keep(self, request: Request, content: dict[str, bytes] = CONTENT) -> Manifest:
        """Keeps a result, and waits for the upload."""
        folder = self.root / "net"
        for name, data in content.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).unlink(missing_ok=True)  # It may share its bytes with a blob.
            (folder / name).write_bytes(data)
        manifest = Manifest.of("convert", folder, {})
        self.store.keep(request, manifest, Origin.of(request, manifest.to_json(), {}))
        self.store.finish()
        return manifest

    def leave_to_upload(self, request: Request) -> None:
        """Leaves a result as a killed build does that has not uploaded it."""
        (self.root / "partial/uploads").mkdir(parents=True, exist_ok=True)
        (self.root / "partial/uploads" / request.key).touch()

    def fetch(self, request: Request) -> dict[str, bytes] | None:
        """The files of a fetched result by name; None without a result."""
        folder = self.root / f"out{len(list(self.root.glob('out*')))}"
        folder.mkdir(parents=True)
        if self.store.fetch(request.key, folder) is None:
            assert not any(folder.iterdir())
            return None
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
