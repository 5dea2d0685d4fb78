"""Small archives, servers and requests for the tests of datasets."""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qatbuild.exchange import request as exchange
from qatbuild.exchange.dataset_facts import DatasetFacts
from qatbuild.exchange.request import Request
from qatbuild.worker import datasets
from qatbuild.worker.datasets.examples import Examples, opened
from qatbuild.worker.datasets.pictures import Pictures
from qatbuild.worker.datasets.rows import Rows
from qatbuild.worker.datasets.source import Source
from tests.conftest import SHARED


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real datasets, for tests marked shared("data")."""
    return SHARED / "data"


@pytest.fixture(scope="session")
def cifar_members() -> dict[str, bytes]:
    """Six members of the official layout, black but for one pixel.

    Image i of member m has the label (i + m) % 10, and at row 5, column 7 red 1, green 2, blue 100 + m.
    """
    members = {}
    for number, name in enumerate([*(f"data_batch_{batch}.bin" for batch in range(1, 6)), "test_batch.bin"]):
        rows = np.zeros((10_000, 3073), np.uint8)
        rows[:, 0] = (np.arange(10_000) + number) % 10
        rows[:, 1:].reshape(-1, 3, 32, 32)[:, :, 5, 7] = [1, 2, 100 + number]
        members[name] = rows.tobytes()
    return members


def load(name: str, path: Path | None = None, downloads: Path | None = None, **fields: Any) -> datasets.Dataset:
    """The data of a spec with these fields of `dataset`; what is unpacked has no name, and so leaves nothing."""
    return datasets.load(Source.of({"name": name, **fields}, path), downloads or Path(tempfile.gettempdir()))


def unread(dataset: datasets.Dataset, split: str, column: str) -> Rows:
    """A column of a split, of which nothing is read yet."""
    each = dataset.splits[split][column]
    assert not isinstance(each, Pictures)
    return each


def rows(dataset: datasets.Dataset, split: str, column: str) -> np.ndarray:
    """A column of a split as one array."""
    each = unread(dataset, split, column)
    return each.read(np.arange(len(each)))


def examples(request: Request, facts: DatasetFacts, split: str) -> Examples:
    """A split as the stage `dataset` left it."""
    return opened(request.out, split, facts)


def column(request: Request, facts: DatasetFacts, split: str, name: str) -> np.ndarray:
    """A column of a split as the stage left it, as one array."""
    split_examples = examples(request, facts, split)
    return split_examples.read(np.arange(len(split_examples)))[name]


CifarArchive = Callable[[str], Path]
MakeRequest = Callable[..., Request]


def pack(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    """A tar archive with these members in the official folder."""
    options: dict[str, Any] = {"w:gz": {"compresslevel": 1}, "w:bz2": {"compresslevel": 1}, "w:xz": {"preset": 0}}.get(
        mode, {}
    )
    create: Callable[..., tarfile.TarFile] = tarfile.open  # Its overloads name each mode by a literal.
    with create(path, mode, **options) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture(scope="session")
def cifar_archive(tmp_path_factory: pytest.TempPathFactory, cifar_members: dict[str, bytes]) -> CifarArchive:
    """The miniature's archive by ending (tar, tar.gz, tar.bz2, tar.xz), made once."""
    folder = tmp_path_factory.mktemp("archives")

    def archive(ending: str) -> Path:
        path = folder / f"cifar-10-binary.{ending}"
        return path if path.exists() else pack(path, cifar_members, f"w:{ending.removeprefix('tar').lstrip('.')}")

    return archive


@dataclass
class Server:
    """A file server on loopback, whose faults are the test's."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    shift_bytes: int = 0
    """How far before the place that was asked for a range begins."""
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the next responses break off, one number each."""
    statuses: list[int] = field(default_factory=list)
    """Status codes with which the next requests are refused."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of every request."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            state.asked.append((self.path, wanted))
            content = state.files.get(self.path)
            if state.statuses:
                return self.send_error(state.statuses.pop(0))
            if content is None:
                return self.send_error(404)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            start = max(0, start - state.shift_bytes)
            if start >= len(content) > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            stop = start + state.cuts.pop(0) if state.cuts else len(content)
            with contextlib.suppress(ConnectionError):  # the client may have had enough
                self.wfile.write(content[start:stop])
            return None

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as host:
        state.url = f"http://127.0.0.1:{host.server_address[1]}"
        thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        host.shutdown()
        thread.join()


@pytest.fixture
def make_request(tmp_path: Path) -> MakeRequest:
    """Requests for the stage `dataset`, each with a work folder of its own in one build folder."""
    made: list[Path] = []

    def make(name: str, path: Path | None = None, validation: float = 0.1, **settings: Any) -> Request:
        work = tmp_path / "build" / "work" / f"key{len(made)}"
        made.append(work)
        (work / "out").mkdir(parents=True)
        return Request(
            stage="dataset",
            settings={"dataset": {"name": name, "url": None, "sha256": None, "validation": validation, **settings}},
            inputs={},
            sources={"data": exchange.Source(path, "")} if path else {},
            toolchain={},
            code="",
            threads=2,
            downloads=tmp_path / "build" / "downloads",
            project=tmp_path,
            folder=tmp_path / "build" / "dataset",
            work=work,
        )

    return make
