"""A project with specs of every kind of fault: the good spec beside them is listed, planned and built."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.builds.conftest import SPEC, ToyProject
from tests.properties.mutation import CRASHING

EVIL = "\x1b[31mred\x1b[0m\u202e\x9b1m\x7f"
NAMES = (
    b"\xff", b"new\nline", b"esc\x1b[31m", "bidi\u202e".encode(), b"a=b", b"-x", b"a@b", b"a:b", b"{0}", b"%s", b"a b",
    b"list/net", b"y" * 250,
)  # fmt: skip
"""Names of files, each of which makes no label, or has a variant that makes none."""


@pytest.fixture
def crowded(toy: ToyProject) -> ToyProject:
    """The toy project with a colourful description, among bad specs."""
    routes = {"deploy": {"litert": {"description": EVIL}}}
    toy.spec("net", description=EVIL, variants={"a": {}, "b": routes})
    specs = toy.root / "specs"
    for name, text in CRASHING.items():
        (specs / f"{name}.json").write_text(text)
    (specs / "list").mkdir()
    for raw in NAMES:
        Path(os.fsdecode(os.fsencode(specs) + b"/" + raw + b".json")).write_text(
            json.dumps({**SPEC, "variants": {"v" * 9: {}}})
        )
    toy.spec("long", variants={"v" * 300: {}})
    toy.spec("line", variants={"v\n": {}})
    toy.spec("evil", **{EVIL: EVIL, "model": {"name": EVIL}})
    toy.spec("far", dataset={"name": "cifar10", "path": EVIL + "x" * 300})
    toy.spec("huge", **{f"key{number}": 1 for number in range(30_000)})
    (specs / "zero.json").symlink_to("/dev/zero")
    os.mkfifo(specs / "pipe.json")
    return toy


def is_plain(text: str) -> bool:
    return text.isascii() and all(line.isprintable() for line in text.split("\n"))


def blocks(text: str) -> list[str]:
    """The errors in what `doit check` prints: a line that is not indented begins each."""
    return ("\n" + text).replace("\n ", "\r ").split("\n")[1:]


def test_bad_specs_do_not_stop_the_others(crowded: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    count = len(CRASHING) + len(NAMES) + 7
    checked = crowded.doit("check")
    assert checked.returncode == 1
    assert checked.stdout.endswith(f"2 labels without faults, {count} specs with\n")
    assert len(blocks(checked.stdout)) == count + 2
    assert max(block.count("\r") for block in blocks(checked.stdout)) < 20
    assert json.loads(crowded.doit("check", "--json").stdout)["labels"] == ["net@a", "net@b"]
    for command in ("plan", "explain", "graph", "list"):
        shown = crowded.doit(command)
        assert shown.returncode == 1
        assert "net@b" in shown.stdout
        assert shown.stderr.count("A spec ") == count
        assert is_plain(shown.stdout + shown.stderr), command
        assert crowded.doit(command, "net").returncode == 0
    listed = crowded.doit("list", "--all").stdout
    assert "net@a" in listed
    assert "list_/net:spec" in listed
    assert r"\x1b[31mred" in listed
    assert is_plain(checked.stdout + listed)
    built = crowded.doit("run", "-n", "2")
    assert built.returncode == 1
    assert built.stdout.count("FAILED") == 1
    assert is_plain(built.stdout + built.stderr)
    assert {"evaluate", "deploy.litert"} <= set(crowded.runs())
    (crowded.root / "broken.txt").write_text("deploy.litert fail")
    crowded.spec("net", description=EVIL, variants={"b": {"deploy": {"litert": {"description": f"{EVIL}2"}}}})
    assert is_plain(crowded.doit("net").stdout)
    pages = [(crowded.root / "build" / name).read_text() for name in ("report.html", "junit.xml")]
    assert not any(character in page for page in pages for character in "\x1b\u202e\x9b\x7f")
    assert "net@b" in pages[1]


def test_a_bad_spec_that_is_named_first_comes_last(toy: ToyProject) -> None:
    toy.spec("bad", trian={})
    done = toy.doit("bad", "net")
    assert done.returncode == 1
    assert "evaluate" in toy.runs()
    assert 'Did you mean "train"' in done.stdout
