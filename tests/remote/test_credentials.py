"""Credentials come from the environment and go to the server, and to no other place."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from qatbuild.engine.cache import Cache
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import SpecError
from tests.hints import follows
from tests.remote.machines import CONTENT, Machine
from tests.remote.servers import Server, running

SECRET = "p:ss w@rd"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def project(root: Path, *lines: str) -> Project:
    """The project with these settings."""
    (root / "pyproject.toml").write_text("\n".join(["[tool.qatbuild]", *lines]))
    return Project.at(root)


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({"QATBUILD_CACHE_TOKEN": SECRET}, f"Bearer {SECRET}"),
        ({"QATBUILD_CACHE_USER": "ada", "QATBUILD_CACHE_PASSWORD": SECRET}, basic("ada", SECRET)),
        ({"QATBUILD_CACHE": "http://ada:p%3Ass%20w%40rd@127.0.0.1/x"}, basic("ada", SECRET)),
        ({"QATBUILD_CACHE": "http://ada:secret@elsewhere.example/x"}, None),
        ({"NETRC": "netrc"}, basic("ada", "secret")),
        ({"NETRC": "netrc", "QATBUILD_CACHE_TOKEN": SECRET}, f"Bearer {SECRET}"),
    ],
)
def test_credentials_reach_the_server_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], header: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password secret\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with running(Server()) as server:
        one = Machine(tmp_path / "one", server.url)
        one.keep(one.request(), CONTENT)
        assert server.headers.get("Authorization") == header
        server.fault = lambda _method, _path: "401"
        one.store.text("0" * 64)
        written = [path.read_bytes() for path in (tmp_path / "one").rglob("*") if path.is_file()]
        for place in (*written, *server.files.values(), "".join(one.said).encode()):
            for text in (SECRET, "secret", "p%3Ass"):
                assert text.encode() not in place


def test_a_project_has_no_cache_unless_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://cache.example/team"
    assert project(tmp_path).cache is None
    assert project(tmp_path, f'cache = "{url}"').cache == Cache(url, "read-write", 10)
    assert project(tmp_path, f'cache = "{url}"', 'cache_mode = "read"', "cache_timeout = 3").cache == Cache(
        url, "read", 3
    )
    assert project(tmp_path, f'cache = "{url}"', 'cache_mode = "off"').cache is None
    assert project(tmp_path, 'cache = "../cache"').cache == Cache(str(tmp_path.parent / "cache"), "read-write", 10)
    monkeypatch.setenv("QATBUILD_CACHE", "https://ada:secret@cache.example:8080/team")
    monkeypatch.setenv("QATBUILD_CACHE_MODE", "read")
    named = project(tmp_path, 'cache = "s3://other"', 'cache_mode = "off"')
    assert named.cache == Cache("https://cache.example:8080/team", "read", 10)
    assert "cache.example" not in repr(named)  # The record of what is up to date would keep it, and depend on it.
    monkeypatch.setenv("QATBUILD_CACHE", "")
    assert project(tmp_path, f'cache = "{url}"').cache is None


def test_credentials_in_a_file_are_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        project(tmp_path, 'cache = "https://ada:secret@cache.example/team"')
    assert "secret" not in refused.value.block()
    assert follows("and set QATBUILD_CACHE_USER and QATBUILD_CACHE_PASSWORD") in refused.value.hint
    follows("S3 and the like read their own configuration")
    bare = refused.value.hint.split()[1].rstrip(",")
    assert project(tmp_path, f'cache = "{bare}"').cache == Cache("https://cache.example/team", "read-write", 10)


@pytest.mark.parametrize("url", ["https://", "http://ada:secret@host:port/x", "https://[secret/x"])
def test_what_is_no_url_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("QATBUILD_CACHE", url)
    with pytest.raises(SpecError) as refused:
        project(tmp_path)
    assert "secret" not in refused.value.block()
    assert follows("write it as SCHEME://HOST/PATH, or as a path") in refused.value.hint
    monkeypatch.setenv("QATBUILD_CACHE", "https://host/path")
    assert project(tmp_path).cache is not None


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        project(tmp_path, 'cache = "x"', 'cache_mode = "write"')
    assert follows("write one of: ") + "read-write, read, off" == refused.value.hint
    assert project(tmp_path, 'cache = "x"', 'cache_mode = "read-write"').cache is not None


@pytest.mark.parametrize("timeout", ["0", "-1", "true", "inf", "nan"])
def test_a_timeout_is_a_positive_number(tmp_path: Path, timeout: str) -> None:
    with pytest.raises(SpecError) as refused:
        project(tmp_path, 'cache = "x"', f"cache_timeout = {timeout}")
    assert follows("write seconds, such as 10") in refused.value.hint
    assert project(tmp_path, 'cache = "x"', "cache_timeout = 10").cache is not None
