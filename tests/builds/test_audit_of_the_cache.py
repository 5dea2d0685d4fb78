"""`doit audit`: wrong results with right digests are found, and what came from their writers is not used any more."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qatbuild.engine.audit.auditor import Auditor, Finding, Judgement
from qatbuild.engine.audit.sample import Progress, count, from_position, position
from qatbuild.engine.build import build
from qatbuild.engine.project import Project
from qatbuild.engine.store import entry as entries
from qatbuild.engine.store.entry import Entry, Writer
from qatbuild.engine.store.remote.folder import FolderRemote
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.processor import processor
from qatbuild.plugin.session import Session
from tests.builds.conftest import SPEC, ToyProject, toy_at
from tests.builds.toolchain import ToyExecutor
from tests.hints import follows

WRONG = "of a poisoned result"


class Cache:
    """A cache in a folder, the checkouts that use it, and the machine that a test is on."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.remote = FolderRemote(folder / "cache")
        self._monkeypatch = monkeypatch

    def on(self, machine: str, processor: str = processor()) -> None:
        """Makes this process one on another machine."""
        self._monkeypatch.setenv(entries.WRITER_VARIABLE, machine)
        self._monkeypatch.setattr(entries, "processor", lambda: processor)
        Writer.here.cache_clear()

    def checkout(self, name: str, specs: dict[str, dict[str, Any]]) -> ToyProject:
        """Makes a fresh clone with a store of its own."""
        (self.folder / name).mkdir()
        toy = toy_at(self.folder / name)
        settings = f'[tool.qatbuild]\ncache = "{self.folder}/cache"\nthreads = 1\n'
        (toy.root / "pyproject.toml").write_text(settings)
        (toy.root / "specs/net.json").unlink()
        for spec, fields in specs.items():
            toy.spec(spec, **fields)
        return toy

    def poison(self, key: str) -> None:
        """Changes an artifact of a kept result; all digests are right afterwards."""
        entry = Entry.parse(key, self.remote.read_entry(key) or "")
        name = next(iter(entry.files))
        right = json.loads((self.folder / "cache/cas" / entry.files[name][1]).read_bytes())
        content = json.dumps({**right, "wrong": f"{WRONG} {key}"}).encode()
        row = len(content), hashlib.sha256(content).hexdigest()
        (self.folder / "cache/cas" / row[1]).write_bytes(content)
        manifest = entry.manifest(Path())
        files = {**manifest.files, name: row} if manifest.files[name][1] else manifest.files
        extra = {**entry.extra, name: row} if name in entry.extra else entry.extra
        text = Manifest(manifest.stage, Path(), files, manifest.facts).to_json()
        poisoned = entry._replace(text=text, extra=extra)
        self.remote.write_entry(key, poisoned.to_json(), poisoned.blobs)

    def of(self, machine: str, stage: str) -> list[str]:
        """Returns the keys of a machine's results of one stage."""
        self.on(machine)
        rows = ((key, Entry.parse(key, self.remote.read_entry(key) or "")) for key in self.results())
        return sorted(key for key, entry in rows if entry.writer == Writer.here() and entry.stage == stage)

    def results(self) -> list[str]:
        """Returns the keys of all results, without what else is kept in the cache."""
        return [key for key in self.remote.entries() if "manifest" in (self.remote.read_entry(key) or "")]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cache]:
    yield Cache(tmp_path, monkeypatch)
    Writer.here.cache_clear()


def built(toy: ToyProject, *labels: str) -> list[str]:
    """Builds in this process; the stages that ran."""
    result = build(Project.prepared(toy.root), labels, executor=ToyExecutor())
    assert result.ok
    return toy.runs()


def seeds(count: int) -> dict[str, dict[str, Any]]:
    """Returns specs of which each trains with a seed of its own."""
    return {f"net{number}": {"train": {**SPEC["train"], "seed": number}} for number in range(count)}


class Audits:
    """The audits of a checkout, one after another, without the command around them."""

    def __init__(self, toy: ToyProject) -> None:
        self.session = Session.load(Project.prepared(toy.root), ToyExecutor())
        self.store = self.session.builder.store
        assert self.store is not None
        self.progress = Progress(self.store)
        self.verdicts = self.session.forecast([])
        self.keys = [verdict.key for verdict in self.verdicts.values() if verdict.key is not None]

    def run(self, number: int) -> list[Finding]:
        assert self.store is not None
        builder = self.session.builder
        auditor = Auditor(builder.rebuilder, self.store, builder.executor, self.verdicts)
        findings = []
        for finding in auditor.findings(from_position(self.keys, self.progress.read())):
            findings.append(finding)
            self.progress.write(position(finding.entry.key))
            if len(findings) == number:
                break
        return findings


def is_clean(folder: Path) -> bool:
    return not any(WRONG in path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def test_twenty_of_a_thousand_are_found_within_the_bound_and_not_used_any_more(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # A thousand results are two thousand files.
    specs = seeds(200)
    for machine, first in (("honest", 0), ("bad", 50), ("worse", 100), ("fine", 150)):
        cache.on(machine)
        built(cache.checkout(machine, specs), *(f"net{number}" for number in range(first, first + 50)))
    everything = len(cache.results())
    assert 1000 <= everything <= 1010
    victim = cache.checkout("victim", specs)
    for key in [*cache.of("bad", "evaluate")[:5], *cache.of("bad", "freeze")[:3], *cache.of("worse", "evaluate")[:12]]:
        cache.poison(key)
    cache.on("victim")
    assert len(built(victim, *(f"net{number}" for number in range(50, 150)))) == 6  # Of three poisoned freezes.
    assert not is_clean(victim.root / "build")

    cache.on("auditor")
    auditor = cache.checkout("auditor", specs)
    audits = Audits(auditor)
    a_run = count(0.05, len(audits.keys))
    bound = math.ceil((len(audits.keys) - 8 + 1) / a_run)
    wrong: list[Finding] = []
    for _ in range(bound):
        findings = audits.run(a_run)
        if any(each.judgement is Judgement.WRONG for each in findings):
            audits = Audits(auditor)
        wrong += [each for each in findings if each.judgement is Judgement.WRONG]
        if len(wrong) == 2:
            break
    assert len({each.entry.writer.id for each in wrong}) == 2  # The first of each, and then no other.

    cache.on("victim")
    victim.spec("news", train={"steps": 7, "learning_rate": {"initial": 0.3}})
    said: list[str] = []
    build(Project.prepared(victim.root), ["news"], executor=ToyExecutor(), say=said.append)
    assert is_clean(victim.root / "build/.store")
    built(victim)
    assert is_clean(victim.root / "build")
    clone = cache.checkout("clone", specs)
    cache.on("clone")
    built(clone)
    assert is_clean(clone.root / "build")


@pytest.fixture
def small(cache: Cache) -> tuple[Cache, ToyProject]:
    """A cache with the ten results of two specs, and the checkout of an auditor."""
    cache.on("builder")
    built(cache.checkout("builder", {"one": {}, "two": {"deploy": {"litert": {}}}}))
    cache.on("auditor")
    return cache, cache.checkout("auditor", {"one": {}, "two": {"deploy": {"litert": {}}}})


def judgements(toy: ToyProject) -> list[str]:
    audits = Audits(toy)
    return [finding.judgement for finding in audits.run(len(audits.keys))]


def test_an_honest_cache_is_never_accused(small: tuple[Cache, ToyProject]) -> None:
    _, toy = small
    assert set(judgements(toy)) == {"equal"}
    built(toy)
    assert set(judgements(toy)) == {"equal"}


def test_a_difference_between_unlike_processors_accuses_no_writer(small: tuple[Cache, ToyProject]) -> None:
    cache, toy = small
    cache.poison(cache.of("builder", "convert")[0])
    cache.on("auditor", "another CPU")
    answers = judgements(toy)
    assert set(answers) == {"equal", "not comparable"}
    assert judgements(toy) == answers  # Its writer is still trusted.


class Fickle(ToyExecutor):
    """Never makes the same twice."""

    number = 0

    def text(self, request: Any) -> str:
        self.number += 1
        return f"{super().text(request)}{self.number}" if request.stage == "freeze" else super().text(request)


def test_a_stage_that_differs_from_itself_accuses_no_writer(small: tuple[Cache, ToyProject]) -> None:
    _, toy = small
    audits = Audits(toy)
    audits.session.builder.executor = Fickle()
    answers = {finding.judgement for finding in audits.run(len(audits.keys))}
    assert answers == {"equal", "not reproducible"}
    assert set(judgements(toy)) == {"equal"}


def test_a_report_is_compared_without_its_times(small: tuple[Cache, ToyProject]) -> None:
    cache, toy = small
    (toy.root / "report.json").write_text('{"latency_ms": {"median": 5}, "latencies_ms": [1, 2]}')
    assert set(judgements(toy)) == {"equal"}
    cache.poison(cache.of("builder", "evaluate")[0])
    cache.on("auditor")
    assert "wrong" in judgements(toy)


def test_a_wrong_result_is_named_and_the_right_one_is_kept_in_its_place(small: tuple[Cache, ToyProject]) -> None:
    cache, toy = small
    (key, *_) = cache.of("builder", "convert")
    right = Entry.parse(key, cache.remote.read_entry(key) or "")
    cache.poison(key)
    cache.on("auditor")
    built(toy)
    done = toy.doit("audit", "one", "two")
    assert done.returncode == 1
    assert f"convert {key[:12]}: model.tflite" in done.stdout
    assert "is used any more" in done.stdout
    healed = Entry.parse(key, cache.remote.read_entry(key) or "")
    assert healed.text == right.text
    assert healed.writer == Writer.here()
    built(toy)
    assert is_clean(toy.root / "build")


def test_a_killed_audit_accuses_no_writer_and_the_next_one_goes_on(small: tuple[Cache, ToyProject]) -> None:
    _, toy = small
    (toy.root / "broken.txt").write_text("evaluate crash")
    assert toy.doit("audit", "--share", "100%").returncode == 137
    assert [path.name for path in (toy.root / "build/work/audit").iterdir()] != ["lock"]
    (toy.root / "broken.txt").unlink()
    ran = len(toy.runs())
    done = toy.doit("audit", "--limit", "1")
    assert done.stdout == "1 audited: 1 equal\n"
    assert toy.runs() == ["evaluate"], f"after {ran}"
    assert [path.name for path in (toy.root / "build/work/audit").iterdir()] == ["lock"]
    assert set(judgements(toy)) == {"equal"}


def test_audits_in_a_row_cover_everything() -> None:
    keys = [hashlib.sha256(bytes([number])).hexdigest() for number in range(101)]
    seen, place, size = set[str](), "", count(0.1, len(keys))
    for _ in range(math.ceil(len(keys) / size)):
        sample = from_position(keys, place)[:size]
        seen.update(sample)
        place = position(sample[-1])
    assert seen == set(keys)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--share", "x"), "--share must be a part of the results"),
        (("--share", "200%"), "--share must be a part of the results"),
        (("--share", "1%", "--limit", "3"), "doit audit takes one limit"),
        (("--idle", "-1"), "--idle must be at least 0"),
    ],
)
def test_invalid_limits_are_one_error(toy: ToyProject, arguments: tuple[str, ...], text: str) -> None:
    done = toy.doit("audit", *arguments)
    assert done.returncode == 3
    assert text in done.stderr
    assert toy.doit("audit", *follows("doit audit --share 1%").split()[2:]).returncode == 3  # Without a store.


def test_a_project_without_a_store_says_so(toy: ToyProject) -> None:
    done = toy.doit("audit")
    assert done.returncode == 3
    assert follows("set `store` or `cache` in [tool.qatbuild]") in done.stderr
    (toy.root / "pyproject.toml").write_text('[tool.qatbuild]\nstore = "kept"\n')
    toy.built()
    assert toy.doit("audit", "--idle", "60").stdout == "8 audited: 8 equal\n"
