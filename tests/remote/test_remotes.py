"""Every kind of server keeps the same things: folder, WebDAV (nginx), S3 (moto), bazel-remote, and ours of faults."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qatbuild.engine.store.remote import Remote, connect, named
from tests.remote.machines import CONTENT, Machine
from tests.remote.servers import BazelHandler, Server, nginx, running, s3

BLOB = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(BLOB).hexdigest()


@pytest.fixture(params=["folder", "file", "webdav", "bazel-remote", "nginx", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty store."""
    match request.param:
        case "folder" | "file":
            yield str(tmp_path / "remote") if request.param == "folder" else (tmp_path / "remote").as_uri()
        case "webdav" | "bazel-remote":
            with running(Server(BazelHandler if request.param == "bazel-remote" else None)) as server:
                yield server.url
        case "nginx":
            with nginx(tmp_path / "nginx") as here:
                yield here
        case "s3":
            with s3(monkeypatch) as here:
                yield here


def test_results_travel_from_one_machine_to_another(url: str, tmp_path: Path) -> None:
    one, other = Machine(tmp_path / "one", url), Machine(tmp_path / "other", url)
    request = one.request()
    assert other.fetch(request) is None
    manifest = one.keep(request)
    assert other.store.text(request.key) == manifest.to_json()
    assert other.fetch(request) == CONTENT
    assert other.store.blob(manifest.files["model.tflite"][1])
    assert one.said == other.said == []
    entry = other.store.entry(request.key)
    assert entry is not None
    assert entry.identity == request.identity
    other.store.quarantine(entry.writer.id, "a test")
    assert Machine(tmp_path / "third", url).store.text(request.key) is None


def test_blobs_and_entries_are_kept_listed_replaced_and_removed(url: str, tmp_path: Path) -> None:
    remote, target, key = connect(url), tmp_path / "target", named("a test")
    source = tmp_path / "source"
    source.write_bytes(BLOB)
    assert not remote.has_blob(DIGEST)
    assert not remote.read_blob(DIGEST, target, len(BLOB))
    assert remote.read_entry(key) is None
    assert list(listed(remote)) == []
    for text in ("one", "two ü"):
        remote.write_blob(DIGEST, source)
        remote.write_entry(key, text, {DIGEST: len(BLOB)})
        assert remote.read_entry(key) == text
    assert remote.has_blob(DIGEST)
    target.write_bytes(BLOB[:1000])  # The rest is fetched.
    assert remote.read_blob(DIGEST, target, len(BLOB))
    assert target.read_bytes() == BLOB
    assert remote.read_blob(DIGEST, tmp_path / "new", len(BLOB))
    assert (tmp_path / "new").read_bytes() == BLOB
    assert list(listed(remote)) in ([key], [])
    remote.remove_entry(key)
    remote.remove_entry(key)
    assert remote.read_entry(key) is None


def test_a_connection_serves_all_operations_of_one_thread_after_another(tmp_path: Path) -> None:
    (source := tmp_path / "source").write_bytes(BLOB)
    with running(Server()) as server:
        remote = connect(server.url)
        for thread in range(3):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(remote.write_blob, DIGEST, source).result()
                assert pool.submit(remote.has_blob, DIGEST).result()
                assert pool.submit(remote.read_blob, DIGEST, tmp_path / f"{thread}", len(BLOB)).result()
                assert pool.submit(remote.read_entry, DIGEST).result() is None
        assert server.connections == 1


def listed(remote: Remote) -> Iterator[str]:
    """The keys of a store; none where a server cannot list them."""
    try:
        return remote.entries()
    except NotImplementedError:
        assert remote.read_entry("0" * 64) is None
        return iter(())


def test_a_folder_has_no_draft_of_a_file_that_is_whole_or_was_given_up(tmp_path: Path) -> None:
    remote = connect(str(tmp_path / "remote"))
    (tmp_path / "source").write_bytes(BLOB)
    remote.write_blob(DIGEST, tmp_path / "source")
    with pytest.raises(OSError, match="directory"):
        remote.write_blob("0" * 64, tmp_path)
    assert [path.name for path in (tmp_path / "remote/cas").iterdir()] == [DIGEST]


def test_a_folder_that_a_web_server_shows_is_the_same_store(tmp_path: Path) -> None:
    with nginx(tmp_path / "nginx") as url:
        request = Machine(tmp_path / "one", url).request()
        Machine(tmp_path / "one", url).keep(request)
        folder = tmp_path / "nginx/files/team/cache"
        assert Machine(tmp_path / "other", str(folder)).fetch(request) == CONTENT
        assert sorted(path.name for path in folder.iterdir()) == ["ac", "cas"]  # No draft is left.
