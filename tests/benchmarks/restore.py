"""How long it takes to restore a result of a gibibyte: from the local store, and from an S3 server on this machine.

    python -m tests.benchmarks.restore --mib 1024 --files 8 --repeat 3

The local store is fetched into a folder of the same file system, where files share their blocks (reflink) or their
inode (link), and into --elsewhere, a folder of another one, to which they are copied: /dev/shm by default. S3 is the
server of moto, in a process of its own; beside the store's fetch stands fsspec's own copying of the same objects (its
`get` of all of them at once), the raw rate of this server. Everything that is fetched is compared with its SHA-256,
which raw copying leaves out; a row says what this alone takes, in one thread.

Results go into tests/benchmarks/results/restore.json and .md, and into qatbuild/docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from qatbuild.engine.history.origin import Origin
from qatbuild.engine.store.local import LocalStore
from qatbuild.engine.store.place import place, takes_links
from qatbuild.engine.store.remote import connect
from qatbuild.engine.store.shared import SharedStore
from qatbuild.exchange.files import file_sha256
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from tests.benchmarks.measure import FailedRunError, host
from tests.benchmarks.table import RESULTS, publish

LOCAL, COPIED, HASHED, S3, RAW = "local store", "local store, another file system", "SHA-256", "S3", "S3, raw fsspec"
_BUCKET = "bucket"
_WAIT_S = 60


class Stored(NamedTuple):
    """A result in the local store below `root`: its request, and its bytes."""

    root: Path
    request: Request
    size_bytes: int

    @classmethod
    def make(cls, root: Path, files: int, file_bytes: int) -> Stored:
        """Keeps files of random bytes as the result of a stage."""
        out = root / "made"
        out.mkdir(parents=True)
        for number in range(files):
            with (out / f"model.ckpt.data-{number:05}").open("wb") as file:
                for start in range(0, file_bytes, 1 << 20):
                    file.write(os.urandom(min(1 << 20, file_bytes - start)))
        none: dict[str, Any] = {}
        request = Request("float", none, none, none, none, "", 1, root, root, out, root)
        stored = cls(root, request, files * file_bytes)
        manifest = Manifest.of("float", out, {})
        stored.local("store").keep(request, manifest, Origin.of(request, manifest.to_json(), {}))
        return stored

    def local(self, name: str) -> LocalStore:
        """Returns the local store in a folder."""
        return LocalStore(self.root / name, self.root, self.root / "build")

    @property
    def names(self) -> list[str]:
        """The SHA-256 of every file."""
        entry = self.local("store").entry(self.request.key)
        assert entry is not None
        return list(entry.blobs)


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--elsewhere", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--out", type=Path, default=RESULTS / "restore")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory(dir=options.elsewhere) as elsewhere:
        stored = Stored.make(Path(here, "result"), options.files, (options.mib << 20) // options.files)
        rows = [*_local_rows(stored, Path(elsewhere), options.repeat), *_s3_rows(stored, options.repeat)]
    result = {"host": host(), "bytes": stored.size_bytes, "files": options.files, "rows": rows}
    publish(options.out, result, markdown(result))
    return 0


def _local_rows(stored: Stored, elsewhere: Path, repeat: int) -> Iterator[dict[str, Any]]:
    store = stored.local("store")

    def fetch(folder: Path) -> None:
        if store.fetch(stored.request.key, folder) is None:
            raise FailedRunError("the local store has lost the result")

    def hashes(_: Path) -> None:
        for file in sorted((stored.root / "made").iterdir()):
            file_sha256(file)

    for what, do, top in ((HASHED, hashes, stored.root), (LOCAL, fetch, stored.root), (COPIED, fetch, elsewhere)):
        yield {"what": what, "how": _how(stored.root, top) if do is fetch else "", **_timed(do, top, repeat)}


def _how(source: Path, target: Path) -> str:
    """How a file's content gets from one folder into another: reflink, link or copy."""
    one, other = source / "probe", target / "probe-placed"
    one.write_bytes(b"x")
    place(one, other)
    linked = other.stat().st_nlink > 1
    same = source.stat().st_dev == target.stat().st_dev
    one.unlink()
    other.unlink()
    return "link" if linked else "reflink" if same and not takes_links(source.stat().st_dev) else "copy"


def _s3_rows(stored: Stored, repeat: int) -> Iterator[dict[str, Any]]:
    """Yields the figures of fetching through a store, and of raw copying, in turns."""
    with s3_server() as url:
        remote = connect(url)
        files = stored.local("store")
        entry = files.entry(stored.request.key)
        assert entry is not None
        for sha256 in entry.blobs:
            blob = files.blob(sha256)
            assert blob is not None
            remote.write_blob(sha256, blob)
        remote.write_entry(entry.key, entry.to_json(), entry.blobs)

        def fetch(folder: Path) -> None:
            shared = SharedStore(
                stored.local(f"{folder.name}-store"), connect(url), folder / "partial", is_written=False
            )
            if shared.fetch(stored.request.key, folder / "out") is None:
                raise FailedRunError("the S3 server has not the result")

        def raw(folder: Path) -> None:
            import fsspec  # noqa: PLC0415

            system, root = fsspec.url_to_fs(url)
            system.get(
                [f"{root}/cas/{sha256}" for sha256 in stored.names], [str(folder / name) for name in stored.names]
            )

        for what, do in ((S3, fetch), (RAW, raw)):
            yield {"what": what, "how": "", **_timed(do, stored.root, repeat)}


def _timed(do: Callable[[Path], None], top: Path, repeat: int) -> dict[str, Any]:
    """Returns the median of the seconds that `do` takes, each time with an empty folder below `top`."""
    seconds = []
    for number in range(repeat):
        folder = top / f"turn-{number}"
        folder.mkdir()
        started = time.perf_counter()
        do(folder)
        seconds.append(time.perf_counter() - started)
        for path in (folder, *top.glob(f"{folder.name}-store")):
            shutil.rmtree(path)
    return {"seconds": statistics.median(seconds), "all": seconds}


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Runs moto's S3 server; yields the URL of an empty bucket, to which the environment leads s3fs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    more = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": endpoint}
    os.environ.update({**more, "AWS_DEFAULT_REGION": "us-east-1"})
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as server:
        try:
            _await(port)
            import fsspec  # noqa: PLC0415  It reads the environment when it is imported.

            fsspec.filesystem("s3").mkdir(_BUCKET)
            yield f"s3://{_BUCKET}"
        finally:
            server.kill()


def _await(port: int) -> None:
    for _ in range(_WAIT_S * 10):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise FailedRunError("moto's server does not start")


def seconds_of(result: dict[str, Any], what: str) -> float:
    """The median seconds of one row."""
    return next(float(row["seconds"]) for row in result["rows"] if row["what"] == what)


def markdown(result: dict[str, Any]) -> str:
    """Seconds and MiB/s of each way, and the rate of the store against raw copying."""
    host, rows = result["host"], result["rows"]
    mib = result["bytes"] / 2**20
    lines = ["| restored from | by | s | MiB/s |", "|---|---|--:|--:|"]
    lines += [f"| {row['what']} | {row['how']} | {row['seconds']:.2f} | {mib / row['seconds']:,.0f} |" for row in rows]
    ratio = seconds_of(result, RAW) / seconds_of(result, S3)
    about = (
        f"{mib:,.0f} MiB in {result['files']} files; from S3 at {ratio:.2f} of the raw rate. Medians. {host['date']}, "
        f"commit {host['commit']}, {host['cpu']}, {host['threads']} threads, load {host['load']} at the end, "
        f"Python {host['python']}."
    )
    return "\n".join([*lines, "", about]) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
