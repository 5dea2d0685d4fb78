"""File systems of fsspec: those without timeouts and whole objects, and credentials in their URLs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from qatbuild.engine.store.remote import Limits, RemoteError, connect
from tests.remote.machines import CONTENT, Machine


class Mounted(LocalFileSystem):
    """A file system that keeps files in a folder, and hangs or fails on request."""

    protocol = "mounted"
    is_gone = threading.Event()
    fault: str = ""
    options: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        super().__init__(skip_instance_cache=True)
        Mounted.options = options

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.partition("://")[2].partition("@")[2] or path))

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        user, at, _ = path.partition("://")[2].partition("@")
        return {"user": user} if at else {}

    def cat_file(self, *arguments: Any, **options: Any) -> bytes:
        if self.fault == "hang":
            self.is_gone.wait()
        if self.fault:
            raise RuntimeError(self.fault)
        return bytes(super().cat_file(*arguments, **options))


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    fsspec.register_implementation("mounted", Mounted, clobber=True)
    monkeypatch.setattr(Mounted, "fault", "")
    monkeypatch.setattr(Mounted, "is_gone", threading.Event())
    yield f"mounted://{tmp_path}/remote"
    Mounted.is_gone.set()


def test_a_file_appears_when_it_is_whole(mounted: str, tmp_path: Path) -> None:
    one = Machine(tmp_path / "one", mounted)
    one.keep(one.request())
    assert Machine(tmp_path / "other", mounted).fetch(one.request()) == CONTENT
    assert sorted(len(path.name) for path in (tmp_path / "remote").glob("*/*")) == [64] * 5


def test_a_file_system_without_timeouts_is_given_up(
    mounted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Machine(tmp_path / "one", mounted)
    one.keep(one.request())
    monkeypatch.setattr(Mounted, "fault", "hang")
    other = Machine(tmp_path / "other", mounted, limits=Limits(timeout_s=0.02, attempts=2, pause_s=0, lost_s=60))
    assert other.fetch(one.request()) is None
    (said,) = other.said
    assert "no answer within 0.06 s" in said


def test_whatever_a_file_system_raises_is_a_fault_of_the_cache(mounted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mounted, "fault", "no such bucket")
    with pytest.raises(RemoteError, match="no such bucket"):
        connect(mounted, Limits(attempts=1)).read_entry("0" * 64)


def test_a_password_in_the_environment_reaches_the_file_system_only(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("mounted", Mounted, clobber=True)
    monkeypatch.setenv("QATBUILD_CACHE", "mounted://ada:secret@host/remote")
    remote = connect("mounted://host/remote")
    assert Mounted.options == {"user": "ada:secret"}
    assert remote.place == "mounted://host/remote"
