"""Manifests, digests, publishing."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import pytest

from qatbuild.engine import digests as digest_module
from qatbuild.engine import file_cache
from qatbuild.engine.digests import Digests
from qatbuild.engine.file_cache import FileCache
from qatbuild.engine.publish import publish
from qatbuild.engine.source import source_sha256
from qatbuild.exchange.errors import ArtifactError
from qatbuild.exchange.file_state import is_settled
from qatbuild.exchange.files import canonical_json, file_sha256, write_text
from qatbuild.exchange.manifest import Manifest


def made(folder: Path, **files: str) -> Manifest:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return Manifest.of("toy", folder, {"answer": 42})


def published(manifest: Manifest) -> Manifest:
    home, file = manifest.folder.parent / "home", manifest.folder.parent / "made.json"
    file.write_text(manifest.to_json())
    return publish(manifest, file, home, (home / "toy.request.json", manifest.to_json()))


def test_manifest_survives_its_text(tmp_path: Path) -> None:
    manifest = published(made(tmp_path / "out", a="1"))
    assert Manifest.read(Manifest.path_of(tmp_path / "home", "toy")) == manifest


def test_equal_artifacts_have_equal_manifests_in_any_folder(tmp_path: Path) -> None:
    assert made(tmp_path / "x", a="1").to_json() == made(tmp_path / "y", a="1").to_json()


def test_events_are_published_but_not_digested(tmp_path: Path) -> None:
    (tmp_path / "out/events").mkdir(parents=True)
    (tmp_path / "out/events/log").write_text("clock")
    manifest = published(made(tmp_path / "out", a="1"))
    assert list(manifest.files) == ["a"]
    assert (tmp_path / "home/events/log").is_file()


def test_publishing_removes_former_artifacts(tmp_path: Path) -> None:
    published(made(tmp_path / "one", a="1", b="2"))
    published(made(tmp_path / "two", a="1"))
    assert not (tmp_path / "home/b").exists()


def test_damage_names_each_file(tmp_path: Path) -> None:
    manifest = published(made(tmp_path / "out", a="1", b="2", c="3", d="4"))
    (tmp_path / "home/a").unlink()
    (tmp_path / "home/b").write_text("22")
    (tmp_path / "home/c").write_text("!")
    assert Digests().damage(manifest) == ["a: missing", "b: 2 bytes instead of 1", "c: edited"]


def test_missing_artifact_is_an_error_that_names_the_others(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="left no b") as caught:
        made(tmp_path / "out", a="1").file("b")
    assert ("it left", "a") in caught.value.facts


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"stage": "x", "files": 3, "facts": {}}'])
def test_damaged_manifest_is_an_artifact_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "toy.manifest.json"
    path.write_text(text)
    with pytest.raises(ArtifactError):
        Manifest.read(path)


def test_digest_notices_an_edit_that_keeps_size_and_mtime(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    digests = Digests()
    before, status = digests.sha256(path), path.stat()
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digests.sha256(path) != before


def test_file_cache_is_written_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_cache, "is_settled", lambda *_: True)  # As if it had been written long ago.
    (tmp_path / "a").write_text("one")
    digests = Digests.load(tmp_path / "memory.db")
    digest = digests.sha256(tmp_path / "a")
    digests.cache.save()
    monkeypatch.setattr(digest_module, "file_sha256", lambda _: "read again")
    again = Digests.load(tmp_path / "memory.db")
    assert again.sha256(tmp_path / "a") == digest


def test_digest_of_a_file_that_was_changed_this_moment_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_cache, "is_settled", lambda *_: False)
    (tmp_path / "a").write_text("one")
    digests = Digests()
    digests.sha256(tmp_path / "a")
    monkeypatch.setattr(digest_module, "file_sha256", lambda _: "read again")
    assert digests.sha256(tmp_path / "a") == "read again"


@pytest.mark.parametrize(
    ("ctime_s", "age_s", "settled"),
    [
        (1000.123, 0.01, False),
        (1000.123, 0.03, True),
        (1000, 0.03, False),  # A clock of seconds: another change may have the same ctime.
        (1000, 1.99, False),  # A clock of two seconds.
        (1000, 2.03, True),
    ],
)
def test_ctime_in_whole_seconds_is_trusted_after_two_of_them(ctime_s: float, age_s: float, settled: bool) -> None:
    ctime_ns = round(ctime_s * 1000) * 1_000_000
    assert is_settled(ctime_ns, ctime_ns + round(age_s * 1e9)) is settled


@pytest.mark.parametrize("text", ["", "no memory at all", "SQLite format 3\0 and then garbage" * 100])
def test_broken_file_cache_counts_as_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.db").write_text(text)
    (tmp_path / "a").write_text("one")
    digests = Digests.load(tmp_path / "memory.db")
    assert digests.sha256(tmp_path / "a") == file_sha256(tmp_path / "a")
    digests.cache.save()


def test_failed_write_leaves_the_former_text(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "former")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("moment", range(9))
def test_publishing_that_dies_at_any_moment_leaves_no_mixture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Columns: the rename at which the process dies. A manifest stands only beside its own artifacts and record."""
    published(made(tmp_path / "one", a="1", b="1", c="1"))
    record = tmp_path / "home/toy.request.json"
    renames = 0
    rename = os.replace

    def dying(*paths: str | Path) -> None:
        nonlocal renames
        renames += 1
        if renames > moment:
            raise KeyboardInterrupt
        rename(*paths)

    monkeypatch.setattr(os, "replace", dying)
    new = made(tmp_path / "two", a="2", b="2")
    with contextlib.suppress(KeyboardInterrupt):
        published(new)
    monkeypatch.undo()
    stands = Manifest.path_of(tmp_path / "home", "toy")
    if stands.exists():
        manifest = Manifest.read(stands)
        assert Digests().damage(manifest) == []
        assert record.read_text() == manifest.to_json()
    else:
        assert moment > 0
    published(made(tmp_path / "two", a="2", b="2"))
    assert not (tmp_path / "home/c").exists()
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == [
        "a",
        "b",
        "toy.manifest.json",
        "toy.request.json",
    ]


def test_changes_of_a_user_s_file_are_written_back_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: done.append(f"sync {Path(f'/dev/fd/{number}').resolve().name}"))
    monkeypatch.setattr(os, "sync", lambda: done.append("sync all"))

    def read(file: str) -> str:
        done.append(f"read {Path(file).name}")
        return "digest"

    monkeypatch.setattr(digest_module, "file_sha256", read)
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    source_sha256(tmp_path, Digests())
    assert done == ["sync a", "sync b", "read a", "read b"]
    done.clear()
    source_sha256(tmp_path / "a", Digests())
    assert done == ["sync a", "read a"]
    done.clear()
    monkeypatch.setattr(digest_module, "_MOST_SYNCED", 1)
    source_sha256(tmp_path, Digests())
    assert done == ["sync all", "read a", "read b"]


def test_the_digest_of_a_folder_is_that_of_its_names_and_contents_however_many_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_module, "_FILES_AT_ONCE", 2)
    names = ("a/b", "a/c", "a-b", "a.b", "é", "z")  # Sorted by their parts: a- and a. come behind a/.
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "nowhere").symlink_to("missing")
    rows = [[name, file_sha256(tmp_path / name)] for name in ("a/b", "a/c", "a-b", "a.b", "z", "é")]
    assert source_sha256(tmp_path, Digests()) == hashlib.sha256(canonical_json(rows).encode()).hexdigest()


def test_the_rows_of_a_file_cache_that_come_from_its_file_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_cache, "_MOST_ROWS", 3)
    monkeypatch.setattr(file_cache, "is_settled", lambda *_: True)
    for number in range(10):
        (tmp_path / str(number)).write_text("")
    states = [(str(tmp_path / str(number)), (tmp_path / str(number)).stat()) for number in range(10)]
    first = FileCache(tmp_path / "cache")
    for file, status in states:
        first.put(file, status, "value")
    first.save()
    second = FileCache(tmp_path / "cache")
    assert [second.get(*state) for state in states] == ["value"] * 10
    assert len(second._rows) <= 4  # noqa: SLF001  What it remembers shows nowhere else.
