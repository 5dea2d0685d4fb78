"""Parcels: what travels to a worker, what stays, and what is sent again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from qatbuild.engine.code_digest import Code
from qatbuild.engine.digests import Digests
from qatbuild.engine.execute.dask.attempt import Task, Waiting
from qatbuild.engine.execute.dask.blobs import Blobs, Content, Shelf
from qatbuild.engine.execute.dask.dispatch import Dispatcher
from qatbuild.engine.execute.dask.likeness import has_code, unlike_packages
from qatbuild.engine.execute.dask.packing import Packer
from qatbuild.engine.execute.dask.parcel import End, Message, Outcome, Parcel, moved
from qatbuild.engine.execute.dask.progress import Progress
from qatbuild.engine.execute.dask.relay import Listener, Relay
from qatbuild.engine.execute.dask.unpacking import Unpacker
from qatbuild.engine.rebuild import toolchain
from qatbuild.engine.source import source_sha256
from qatbuild.engine.store.remote.folder import FolderRemote
from qatbuild.exchange import saved_training
from qatbuild.exchange.errors import StageError
from qatbuild.exchange.files import file_sha256, write_text
from qatbuild.exchange.request import Request, Source
from tests.hints import follows


class Sender:
    """A machine with a project, and the request of a stage that reads its sources."""

    def __init__(self, root: Path, **sources: Path) -> None:
        self.project, self.cache = root / "project", root / "cache"
        self.project.mkdir(exist_ok=True)
        self.code, self.digests = Code(self.project), Digests()
        self.packer = Packer(self.code, self.digests, Blobs(FolderRemote(self.cache)))
        build = self.project / "build"
        self.request = Request(
            stage="dataset",
            settings={},
            inputs={},
            sources={role: Source(path, source_sha256(path, self.digests)) for role, path in sources.items()},
            toolchain=toolchain(("numpy",), None),
            code=self.code.digest(["qatbuild.version"]),
            threads=1,
            project=self.project,
            downloads=build / "downloads",
            folder=build / "net",
            work=build / "work/net",
        )


class Receiver:
    """A machine that reaches the same cache."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root = root / "scratch"
        self.unpacker = Unpacker(Shelf(root / "shelf", Blobs(FolderRemote(cache))), root / "downloads", Digests())

    def unpack(self, parcel: Parcel) -> list[str]:
        return self.unpacker.unpack(Parcel.from_json(parcel.to_json()), self.root)


def test_files_folders_and_checkpoints_keep_their_distances_and_digests(tmp_path: Path) -> None:
    data = tmp_path / "project/data"
    for name in ("pictures/cat/1.png", "pictures/2.png", "model.ckpt-1.index", "model.ckpt-1.data", "table.csv"):
        write_text(data / name, name)
    paths = {"data": data / "pictures", "weights": data / "model.ckpt-1", "table": data / "table.csv"}
    paths["gone"] = data / "none"
    sender, receiver = Sender(tmp_path, **paths), Receiver(tmp_path, tmp_path / "cache")
    assert receiver.unpack(sender.packer.pack(sender.request).parcel) == []
    arrived = moved(sender.request, receiver.root)
    assert arrived.key == sender.request.key
    assert arrived.sources["data"].path == Path(f"{receiver.root}{data}/pictures")
    for source in arrived.sources.values():
        assert source_sha256(source.path, Digests()) == source.sha256


def test_data_outside_the_project_are_sent_only_to_workers_that_lack_them(tmp_path: Path) -> None:
    data = tmp_path / "shared/pictures"
    write_text(data / "1.png", "a picture")
    sender, receiver = Sender(tmp_path, data=data), Receiver(tmp_path, tmp_path / "cache")
    package = sender.packer.pack(sender.request)
    assert receiver.unpack(package.parcel) == []
    assert Path(f"{receiver.root}{data}").readlink() == data

    (data / "1.png").rename(tmp_path / "elsewhere.png")  # As on a machine without that disk.
    other = Receiver(tmp_path / "other", tmp_path / "cache")
    lacks = other.unpack(package.parcel)
    assert lacks == [file_sha256(tmp_path / "elsewhere.png")]
    (tmp_path / "elsewhere.png").rename(data / "1.png")
    sender.packer.send_again(package, tuple(lacks))
    (data / "1.png").unlink()
    third = Receiver(tmp_path / "third", tmp_path / "cache")
    assert third.unpack(package.parcel) == []
    assert Path(f"{third.root}{data}/1.png").read_text() == "a picture"


def test_a_damaged_blob_is_sent_again_and_a_changed_file_is_an_error(tmp_path: Path) -> None:
    data = tmp_path / "project/data"
    write_text(data / "1.png", "a picture")
    sender = Sender(tmp_path, data=data)
    package = sender.packer.pack(sender.request)
    for blob in (sender.cache / "cas").iterdir():
        blob.write_text("damaged")
    lacks = Receiver(tmp_path / "a", sender.cache).unpack(package.parcel)
    assert lacks
    assert set(lacks) == {*package.texts}  # The folder's list comes first.
    sender.packer.send_again(package, tuple(lacks))
    lacks = Receiver(tmp_path / "b", sender.cache).unpack(package.parcel)
    assert lacks == [file_sha256(data / "1.png")]
    sender.packer.send_again(package, tuple(lacks))
    assert Receiver(tmp_path / "c", sender.cache).unpack(package.parcel) == []
    (data / "1.png").write_text("another picture")
    with pytest.raises(StageError, match="An input changed while it was sent"):
        sender.packer.send_again(package, tuple(lacks))


def test_a_shelf_replaces_a_blob_that_a_stage_has_written_to(tmp_path: Path) -> None:
    source, remote = tmp_path / "source", FolderRemote(tmp_path / "cache")
    source.write_text("as it was")
    content = Content.of(source)
    remote.write_blob(content.sha256, source)
    shelf = Shelf(tmp_path / "shelf", Blobs(remote))
    assert shelf.put([(tmp_path / "first", content)]) == []
    (tmp_path / "shelf" / content.sha256[:2] / content.sha256).write_text("edited")
    assert shelf.put([(tmp_path / "second", content)]) == []
    assert (tmp_path / "second").read_text() == "as it was"


def test_a_full_disk_loses_its_blobs_but_no_file_of_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, remote = tmp_path / "source", FolderRemote(tmp_path / "cache")
    source.write_text("content")
    content = Content.of(source)
    remote.write_blob(content.sha256, source)
    shelf = Shelf(tmp_path / "shelf", Blobs(remote))
    shelf.put([(tmp_path / "file", content)])
    monkeypatch.setattr("qatbuild.engine.execute.dask.blobs._FREE", 0)
    shelf.make_room()
    blob = tmp_path / "shelf" / content.sha256[:2] / content.sha256
    assert blob.exists()
    monkeypatch.setattr("qatbuild.engine.execute.dask.blobs._FREE", 1.1)
    shelf.make_room()
    assert not blob.exists()
    assert (tmp_path / "file").read_text() == "content"


def test_progress_is_restored_whole_or_not_at_all(tmp_path: Path) -> None:
    blobs = Blobs(FolderRemote(tmp_path / "cache"))
    here, there = (Progress(blobs, "key", tmp_path / name) for name in ("here", "there"))
    folder = saved_training.folder_of(tmp_path / "here")
    assert not here.save()
    write_text(folder / "full.ckpt-3.index", "three steps")
    write_text(folder / saved_training.EVENTS / "events.1", "losses")
    digests = {"full.ckpt-3.index": file_sha256(folder / "full.ckpt-3.index")}
    write_text(folder / saved_training.STATE, json.dumps({"files": digests}))
    assert here.save()
    assert not here.save()  # It is there already.
    assert there.restore()
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    for name in names:
        assert (saved_training.folder_of(tmp_path / "there") / name).read_bytes() == (folder / name).read_bytes()
    assert len(names) == 3

    for blob in (tmp_path / "cache/cas").iterdir():
        blob.unlink()
    assert not Progress(blobs, "key", tmp_path / "third").restore()
    assert not saved_training.folder_of(tmp_path / "third").exists()
    here.forget()
    assert not Progress(blobs, "key", tmp_path / "fourth").restore()


def test_a_log_is_whole_although_messages_were_lost(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "log.txt", tmp_path / "console")
    listener.hear(Message("key", "first", 0, 4, b"one\n"))
    listener.hear(Message("key", "second", 0, 4, b"two\n"))
    listener.hear(Message("key", "second", 20, 24, b"four"))
    listener.end("second", b"two\nin /scratch/net\nfour\n", "/scratch")
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\nin /net\nfour\n"


def test_all_models_that_share_a_run_hear_of_it_until_each_has_its_result(tmp_path: Path) -> None:
    first = Sender(tmp_path).request
    second = replace(first, folder=tmp_path / "second")
    relay, log, later_log = Relay(), first.folder / "log.txt", second.folder / "log.txt"
    with relay.listening(first) as listener:
        with relay.listening(second):
            relay.hear((0.0, [*Message(first.key, "run", 0, 4, b"one\n")]))
            assert log.read_text() == later_log.read_text() == "one\n"
        relay.hear((0.0, [*Message(first.key, "run", 4, 8, b"two\n", ended=True)]))
        assert listener.idle.is_set()
    relay.hear((0.0, [*Message(first.key, "run", 8, 12, b"six\n")]))
    assert (log.read_text(), later_log.read_text()) == ("one\ntwo\n", "one\n")


def test_a_build_without_cards_and_a_worker_with_cards_are_unlike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Sender(tmp_path).request
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert unlike_packages(request, "worker") is None  # Which card it is, is the worker's affair.
    without = replace(request, toolchain={**request.toolchain, "CUDA_VISIBLE_DEVICES": ""})
    error = unlike_packages(without, "worker")
    assert error is not None
    assert error.hint == follows("start workers and build alike: both with CUDA_VISIBLE_DEVICES= or both without")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert unlike_packages(without, "worker") is None


def test_equal_files_are_equal_code_and_none_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = Sender(tmp_path).packer.pack(Sender(tmp_path).request).parcel
    monkeypatch.setattr(Code, "digest", lambda *_: pytest.fail("files are parsed"))
    assert has_code(parcel, Code(parcel.request.project), Digests())


def test_another_comment_is_equal_code_and_another_statement_is_not(tmp_path: Path) -> None:
    sender, package = Sender(tmp_path), tmp_path / "other/qatbuild"
    parcel = sender.packer.pack(sender.request).parcel
    assert {*parcel.own_files} == {"__init__.py", "version.py"}
    package.mkdir(parents=True)
    for name in parcel.own_files:
        shutil.copy(sender.code.package / name, package)

    def is_equal() -> bool:
        return has_code(parcel, Code(parcel.request.project, package=package), Digests())

    version = package / "version.py"
    text = version.read_text()
    version.write_text(f"{text}# as released\n")
    assert is_equal()
    version.write_text(f"{text}COMMENT = 1\n")
    assert not is_equal()
    version.unlink()
    assert not is_equal()


def test_a_result_counts_in_the_cache_that_has_its_files(tmp_path: Path) -> None:
    sender = Sender(tmp_path)
    task = Task(sender.packer.pack(sender.request), Listener(tmp_path / "log.txt", tmp_path / "console"), Waiting())
    done = Outcome(End.DONE).to_json()
    task.listener.hear(Message(sender.request.key, outcome=done, cache="elsewhere"))
    assert task.said == ""
    task.listener.hear(Message(sender.request.key, outcome=done, cache=str(sender.cache)))
    assert task.said == done


@pytest.mark.parametrize(("saves", "attempts"), [(0, 5), (3, 7)])
def test_a_stage_that_is_lost_without_progress_is_given_up(tmp_path: Path, saves: int, attempts: int) -> None:
    sender = Sender(tmp_path)
    task = Task(sender.packer.pack(sender.request), Listener(tmp_path / "log.txt", tmp_path / "console"), Waiting())

    class Losing:
        made = 0

        def attempt(self, task: Task, _: object, number: int) -> Outcome | None:
            assert number == self.made
            self.made += 1
            task.listener.saves += self.made <= saves
            return None if self.made % 2 else Outcome(End.INTERRUPTED)

    losing = Losing()
    with pytest.raises(StageError, match="died again and again") as error:
        Dispatcher(losing, list, sender.packer, sender.code).performed(task)
    assert follows("look into the workers' logs") in error.value.hint
    assert losing.made == attempts
