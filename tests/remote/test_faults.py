"""A cache that lies, hangs, refuses or goes away costs a build nothing but time, and is complained about once."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from qatbuild.engine.store.remote import RemoteError, connect, pace
from qatbuild.engine.store.remote.action_result import packed, unpacked
from qatbuild.engine.store.remote.http import HttpRemote
from qatbuild.exchange.request import Request
from tests.remote.machines import AT_ONCE, CONTENT, Machine
from tests.remote.servers import Server, running

MODEL = hashlib.sha256(CONTENT["model.tflite"]).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with one result, kept by a machine called `one`."""
    with running(Server()) as here:
        yield here


@pytest.fixture
def request_kept(server: Server, tmp_path: Path) -> Request:
    one = Machine(tmp_path / "one", server.url)
    request = one.request()
    one.keep(request)
    server.seen.clear()
    return request


def at(part: str, fault: str, *, first: int = 1_000, method: str = "GET") -> Callable[[str, str], str]:
    """A fault of the first requests with this method and this part of a path."""
    left = [first]

    def chosen(used: str, path: str) -> str:
        if used != method or part not in path or not left[0]:
            return ""
        left[0] -= 1
        return fault

    return chosen


@pytest.mark.parametrize("fault", ["wrong", "page"])
def test_a_blob_with_other_bytes_is_refused_named_never_kept_and_replaced(
    server: Server, request_kept: Request, tmp_path: Path, fault: str
) -> None:
    other = Machine(tmp_path / "other", server.url)
    server.fault = at(f"cas/{MODEL}", fault)
    for _ in range(2):
        assert other.fetch(request_kept) is None
    (said,) = other.said
    assert server.url in said
    assert request_kept.key in said
    assert not other.local.has(MODEL)
    assert other.local.entry(request_kept.key) is None
    assert list((tmp_path / "other/partial").iterdir()) == []
    server.seen.clear()
    other.keep(request_kept)  # As it was built instead.
    assert server.times("MOVE") == 2  # The blob that was refused, and the entry.
    server.fault = at("", "")
    assert Machine(tmp_path / "third", server.url).fetch(request_kept) == CONTENT


@pytest.mark.parametrize("answer", ["page", "other entry", "model.tflite", "events/log"])
def test_an_answer_that_is_no_entry_of_the_key_is_refused(
    server: Server, request_kept: Request, tmp_path: Path, answer: str
) -> None:
    path = f"/team/ac/{request_kept.key}"
    if answer == "page":
        server.fault = at(f"/ac/{request_kept.key}", "page")
    elif answer == "other entry":
        one = Machine(tmp_path / "one", server.url)
        one.keep(one.request(21))
        server.files[path] = server.files[f"/team/ac/{one.request(21).key}"]
    else:
        text = unpacked(server.files[path].decode()) or ""
        server.files[path] = packed(text.replace(answer, "../outside"), {}).encode()
    other = Machine(tmp_path / "other", server.url)
    assert other.store.text(request_kept.key) is None
    assert other.fetch(request_kept) is None
    (said,) = other.said
    assert request_kept.key in said


def test_a_cut_transfer_goes_on_within_a_build(server: Server, request_kept: Request, tmp_path: Path) -> None:
    other = Machine(tmp_path / "other", server.url)
    server.sent_bytes = 0
    server.fault = at(f"cas/{MODEL}", "cut", first=2)
    assert other.fetch(request_kept) == CONTENT
    assert server.times("GET", f"cas/{MODEL}") == 3
    assert server.sent_bytes < 1.1 * len(CONTENT["model.tflite"])
    assert other.said == []


def test_a_cut_transfer_goes_on_in_the_next_build(server: Server, request_kept: Request, tmp_path: Path) -> None:
    server.fault = at(f"cas/{MODEL}", "cut")
    other = Machine(tmp_path / "other", server.url)
    assert other.fetch(request_kept) is None
    (part,) = (tmp_path / "other/partial").iterdir()
    have_bytes = part.stat().st_size
    assert 0 < have_bytes < len(CONTENT["model.tflite"])
    server.fault = at("", "")
    server.sent_bytes = 0
    assert Machine(tmp_path / "other", server.url).fetch(request_kept) == CONTENT
    assert server.sent_bytes < len(CONTENT["model.tflite"]) - have_bytes + 5_000


def test_a_damaged_part_of_a_cut_transfer_is_fetched_anew(
    server: Server, request_kept: Request, tmp_path: Path
) -> None:
    (tmp_path / "other/partial").mkdir(parents=True)
    (tmp_path / "other/partial" / MODEL).write_bytes(b"?" * 1000)
    other = Machine(tmp_path / "other", server.url)
    assert other.fetch(request_kept) == CONTENT
    assert other.said == []


def test_a_refusal_keeps_the_part_of_a_cut_transfer(server: Server, request_kept: Request, tmp_path: Path) -> None:
    part = tmp_path / "other/partial" / MODEL
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT["model.tflite"][:1000])
    server.fault = at(f"cas/{MODEL}", "403")
    assert Machine(tmp_path / "other", server.url).fetch(request_kept) is None
    assert part.stat().st_size == 1000


def test_passing_faults_are_tried_again(server: Server, request_kept: Request, tmp_path: Path) -> None:
    other = Machine(tmp_path / "other", server.url)
    server.fault = at("", "503", first=2)
    assert other.fetch(request_kept) == CONTENT
    assert other.said == []


def test_a_server_whose_faults_do_not_pass_is_given_up(server: Server, request_kept: Request, tmp_path: Path) -> None:
    other = Machine(tmp_path / "other", server.url)
    server.fault = at("", "500")
    for _ in range(20):
        assert other.store.text(request_kept.key) is None
    assert server.times("GET") == 9  # Three operations, three times each.
    (said,) = other.said
    assert "500" in said
    assert "The build goes on without it" in said


def test_a_store_that_was_given_up_is_asked_again_afresh(server: Server) -> None:
    remote = connect(server.url)
    server.fault = lambda _method, _path: "403"
    with pytest.raises(RemoteError):
        remote.has_blob(MODEL)
    server.fault = lambda _method, _path: ""
    with pytest.raises(RemoteError):
        remote.has_blob(MODEL)
    assert not remote.afresh().has_blob(MODEL)
    assert server.times("HEAD") == 2


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets only the answer with MODEL take no longer than 0.2 s: any other may be late on a busy machine."""
    read = HttpRemote.read_blob

    def impatient(self: HttpRemote, sha256: str, target: Path, size_bytes: int) -> bool:
        return read(HttpRemote(self.place, 0.2) if sha256 == MODEL else self, sha256, target, size_bytes)

    monkeypatch.setattr(HttpRemote, "read_blob", impatient)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a second pass between two pieces of an answer."""
    seconds: dict[int, Iterator[int]] = defaultdict(itertools.count)
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: next(seconds[threading.get_ident()])))


@pytest.mark.usefixtures("impatience")
def test_a_server_that_hangs_is_given_up(server: Server, request_kept: Request, tmp_path: Path) -> None:
    assert "no answer within 0.2 s" in said_of(server, request_kept, tmp_path / "other", "hang")


@pytest.mark.usefixtures("hurry")
def test_a_server_that_sends_a_byte_a_second_is_given_up(server: Server, request_kept: Request, tmp_path: Path) -> None:
    assert "slower than" in said_of(server, request_kept, tmp_path / "other", "drip")


def said_of(server: Server, request_kept: Request, root: Path, fault: str) -> str:
    """What a machine says of a server with this fault, after two attempts at three fetches."""
    other = Machine(root, server.url, limits=AT_ONCE._replace(attempts=2))
    server.fault = at(f"cas/{MODEL}", fault)
    for _ in range(3):
        assert other.fetch(request_kept) is None
    assert server.times("GET", MODEL) == 2
    (said,) = other.said
    return said


def test_a_server_that_is_gone_in_the_middle_is_given_up(server: Server, request_kept: Request, tmp_path: Path) -> None:
    other = Machine(tmp_path / "other", server.url)
    assert other.store.text(request_kept.key)
    server.close()
    assert other.fetch(request_kept) is None
    other.keep(request_kept)
    (said,) = other.said
    assert "does not work" in said


@pytest.mark.parametrize("status", ["401", "403"])
def test_a_server_that_wants_credentials_says_which_are_looked_for(
    server: Server, request_kept: Request, tmp_path: Path, status: str
) -> None:
    other = Machine(tmp_path / "other", server.url)
    server.fault = at("", status)
    assert other.fetch(request_kept) is None
    assert other.fetch(request_kept) is None
    assert server.times("GET") == 1
    (said,) = other.said
    assert status in said
    for name in ("QATBUILD_CACHE_TOKEN", "QATBUILD_CACHE_USER", "QATBUILD_CACHE_PASSWORD", "~/.netrc"):
        assert name in said


@pytest.mark.parametrize("status", ["507", "405", "403", "413", "302"])
def test_a_server_that_takes_nothing_is_still_read(
    server: Server, request_kept: Request, tmp_path: Path, status: str
) -> None:
    other = Machine(tmp_path / "other", server.url)
    server.fault = at("", status, method="PUT")
    for steps in (30, 40):
        other.keep(other.request(steps), {"model.tflite": bytes([steps])})
    assert other.fetch(request_kept) == CONTENT
    (said,) = other.said
    assert "takes no results" in said
    assert status in said


def test_an_entry_is_uploaded_after_its_blobs_and_never_without_one(server: Server, tmp_path: Path) -> None:
    one = Machine(tmp_path / "one", server.url)
    one.keep(one.request())
    assert [f"ac/{one.request().key}" in each for each in server.seen if each.startswith("MOVE")] == [False] * 4 + [
        True
    ]
    server.files.clear()
    server.fault = lambda method, path: "507" if method in {"PUT", "MOVE"} and MODEL in path else ""
    other = Machine(tmp_path / "other", server.url)
    other.keep(other.request(21))
    assert not any("/ac/" in name for name in server.files)


def test_a_missing_blob_is_a_miss(server: Server, request_kept: Request, tmp_path: Path) -> None:
    del server.files[f"/team/cas/{MODEL}"]
    other = Machine(tmp_path / "other", server.url)
    assert other.fetch(request_kept) is None
    assert other.said == []


def test_a_cache_that_is_only_read_gets_nothing(server: Server, tmp_path: Path) -> None:
    one = Machine(tmp_path / "one", server.url, is_written=False)
    one.keep(one.request())
    assert server.files == {}


def test_what_is_there_is_not_uploaded_again(server: Server, request_kept: Request, tmp_path: Path) -> None:
    Machine(tmp_path / "other", server.url).keep(request_kept)
    assert [each for each in server.seen if each.startswith("PUT") and "cas" in each] == []
    assert server.times("MOVE") == 1  # The entry.


def test_an_artifact_that_was_edited_before_its_upload_is_not_uploaded(server: Server, tmp_path: Path) -> None:
    one = Machine(tmp_path / "one", server.url, is_written=False)
    manifest = one.keep(one.request())
    blob = one.local.blob(manifest.files["labels.txt"][1])
    assert blob is not None
    blob.write_bytes(b"edited")
    one.leave_to_upload(one.request())
    again = Machine(tmp_path / "one", server.url)
    again.keep(again.request(21), {"model.tflite": b"other"})
    assert [name for name in server.files if "/ac/" in name] == [f"/team/ac/{one.request(21).key}"]


def test_what_could_not_be_uploaded_is_uploaded_by_the_next_build(server: Server, tmp_path: Path) -> None:
    one = Machine(tmp_path / "one", server.url)
    server.fault = at("", "500", method="PUT")
    one.keep(one.request())
    assert server.files == {}
    server.fault = at("", "")
    again = Machine(tmp_path / "one", server.url)
    again.keep(again.request(21), {"model.tflite": b"other"})
    assert Machine(tmp_path / "other", server.url).fetch(one.request()) == CONTENT
    assert list((tmp_path / "one/partial/uploads").iterdir()) == []
