"""A download is resumed, checked and put in place whole, or it is an error that names the URL and gives a hint."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets import download
from qatbuild.worker.datasets.download import ATTEMPTS, fetch
from tests.datasets.conftest import CifarArchive, Server, load, rows
from tests.hints import follows

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def url(server: Server) -> str:
    server.files["/sets/data.bin"] = CONTENT
    return f"{server.url}/sets/data.bin"


def get(url: str, folder: Path, sha256: str = DIGEST) -> Path:
    return fetch(url, sha256, folder, pause_s=0)


def fault(url: str, folder: Path, sha256: str = DIGEST) -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        get(url, folder, sha256)
    assert url in str(caught.value)
    return caught.value


def files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))


def leave_part(folder: Path, content: bytes, sha256: str = DIGEST) -> Path:
    """What an earlier, interrupted build left."""
    part = folder / f"data.bin.{sha256[:12]}.part"
    part.write_bytes(content)
    return part


def test_file_arrives_whole_under_its_name(url: str, tmp_path: Path) -> None:
    path = get(url, tmp_path / "new" / "downloads")
    assert path == tmp_path / "new" / "downloads" / "data.bin"
    assert path.read_bytes() == CONTENT
    assert files(path.parent) == ["data.bin"]


def test_present_file_with_the_right_checksum_is_used_without_a_connection(
    url: str, server: Server, tmp_path: Path
) -> None:
    get(url, tmp_path)
    assert get(url, tmp_path, DIGEST.upper()).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_present_file_with_other_content_is_left_alone(url: str, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"of another spec")
    path = get(url, tmp_path)
    assert path.name == f"{DIGEST[:12]}-data.bin"
    assert path.read_bytes() == CONTENT
    assert (tmp_path / "data.bin").read_bytes() == b"of another spec"
    assert get(url, tmp_path) == path


@pytest.mark.parametrize("intruder", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_other_things_in_the_places_of_file_and_part_do_not_stop_a_download(
    url: str, tmp_path: Path, intruder: Callable[[Path], object]
) -> None:
    for name in ("data.bin", f"{DIGEST[:12]}-data.bin", f"data.bin.{DIGEST[:12]}.part"):
        intruder(tmp_path / name)
    assert get(url, tmp_path).read_bytes() == CONTENT
    assert not (tmp_path / "data.bin").is_file()  # What was there stays.


def test_cut_connection_is_resumed_where_it_stopped(url: str, server: Server, tmp_path: Path) -> None:
    server.cuts = [300_000, 200_000]
    assert get(url, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=300000-", "bytes=500000-"]


def test_next_build_resumes_a_killed_download(url: str, server: Server, tmp_path: Path) -> None:
    leave_part(tmp_path, CONTENT[:1000])
    assert get(url, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/sets/data.bin", "bytes=1000-")]
    assert files(tmp_path) == ["data.bin"]


def test_server_without_ranges_sends_all_again(url: str, server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [300_000]
    assert get(url, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_range_that_begins_elsewhere_is_not_appended(url: str, server: Server, tmp_path: Path) -> None:
    server.shift_bytes = 10
    leave_part(tmp_path, CONTENT[:1000])
    assert get(url, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == ["bytes=1000-", None]


def test_whole_part_is_recognised_when_the_server_has_no_more(url: str, server: Server, tmp_path: Path) -> None:
    leave_part(tmp_path, CONTENT)
    assert get(url, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_part_of_another_file_is_dropped_when_the_server_has_no_such_range(
    url: str, server: Server, tmp_path: Path
) -> None:
    leave_part(tmp_path, CONTENT + b"and more")
    assert get(url, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [f"bytes={len(CONTENT) + 8}-", None]


def test_download_from_a_server_that_always_cuts_fails_and_keeps_the_received_part(
    url: str, server: Server, tmp_path: Path
) -> None:
    server.cuts = [1000] * ATTEMPTS
    error = fault(url, tmp_path)
    assert f"{ATTEMPTS * 1000:,} of {len(CONTENT):,} bytes arrived" in str(error)
    assert follows("Build again: the download goes on where it stopped") in error.hint
    assert files(tmp_path) == [f"data.bin.{DIGEST[:12]}.part"]
    assert get(url, tmp_path).read_bytes() == CONTENT


def test_wrong_checksum_names_both_and_removes_the_part(url: str, tmp_path: Path) -> None:
    error = fault(url, tmp_path, "0" * 64)
    assert ("sha256 got", DIGEST) in error.facts
    assert ("sha256 wanted", "0" * 64) in error.facts
    assert files(tmp_path) == []
    assert follows("Build again in case the transfer was damaged") in error.hint
    assert follows('Fetch it by other means and give its place as "path" in the spec') in error.hint
    assert get(url, tmp_path).read_bytes() == CONTENT


def test_part_that_does_not_fit_is_found_by_the_checksum(url: str, tmp_path: Path) -> None:
    leave_part(tmp_path, b"x" * 1000)
    assert "does not have the expected SHA-256" in fault(url, tmp_path).message
    assert get(url, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404, 410])
def test_refusal_is_not_tried_again(url: str, server: Server, tmp_path: Path, status: int) -> None:
    server.statuses = [status]
    error = fault(url, tmp_path)
    assert str(status) in str(error)
    assert 'give its place as "path"' in error.hint
    assert len(server.asked) == 1


def test_passing_server_errors_are_tried_again(url: str, server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429, 500]
    assert get(url, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 4


def test_lasting_server_error_fails_the_download(url: str, server: Server, tmp_path: Path) -> None:
    server.statuses = [503] * 20
    assert "the server answered 503" in str(fault(url, tmp_path))
    assert len(server.asked) == ATTEMPTS


def test_unreachable_server_is_an_error_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = fault(f"http://127.0.0.1:{port}/data.bin", tmp_path)
    assert "refused" in str(error)
    assert 'give its place as "path"' in error.hint


def test_unknown_host_is_an_error_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    error = fault("http://host.invalid/data.bin", tmp_path)  # RFC 6761: .invalid never resolves
    assert "cannot be reached" in error.message
    assert 'give its place as "path"' in error.hint


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/a", "http://host/", "no url", "http://[/a"])
def test_url_that_names_no_file_on_the_web_is_refused(url: str, tmp_path: Path) -> None:
    assert "http:// or https://" in str(fault(url, tmp_path))


def test_full_disk_is_an_error_with_the_folder(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def receive(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download, "_receive", receive)
    error = fault(url, tmp_path)
    assert error.message == "The disk is full."
    assert ("folder", str(tmp_path)) in error.facts


def test_folder_that_cannot_be_made_is_an_error(url: str, tmp_path: Path) -> None:
    (tmp_path / "downloads").write_text("a file in its place")
    assert "cannot be used" in fault(url, tmp_path / "downloads").message


def test_two_builds_at_once_download_one_file_once(url: str, server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: get(url, tmp_path), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.asked) == 1


def test_cifar10_comes_from_a_mirror_with_its_own_checksum(
    server: Server, cifar_archive: CifarArchive, tmp_path: Path
) -> None:
    server.files["/mirror/cifar.tar.xz"] = content = cifar_archive("tar.xz").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    data = load("cifar10", None, tmp_path, url=f"{server.url}/mirror/cifar.tar.xz", sha256=digest)
    assert rows(data, "test", "labels")[:3].tolist() == [5, 6, 7]
    assert files(tmp_path) == ["cifar.tar.xz"]


def test_cifar10_of_a_mirror_without_a_checksum_must_be_the_official_archive(server: Server, tmp_path: Path) -> None:
    server.files["/cifar-10-binary.tar.gz"] = b"forged"
    server.ranges = False
    with pytest.raises(DatasetError, match="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"):
        load("cifar10", None, tmp_path, url=f"{server.url}/cifar-10-binary.tar.gz")
