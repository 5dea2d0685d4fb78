"""doit with a cache: no fault of it fails a build, and without one nothing is imported for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builds.conftest import REPOSITORY, toy_at
from tests.hints import follows
from tests.remote.conftest import Team, label_files
from tests.remote.servers import Server, running, taken_port

PATIENCE_S = 120

WITHOUT_WORKERS = """
import atexit, subprocess, sys
from qatbuild.plugin import project_tasks

def refuse(*arguments, **options):
    raise AssertionError("a process was started")

subprocess.Popen = refuse
atexit.register(lambda: print("tensorflow" in sys.modules, "numpy" in sys.modules))
DOIT_CONFIG, task_specs = project_tasks(__file__)
"""

WITHOUT_CACHE = """
import sys
from pathlib import Path
from qatbuild.engine.build import build
from qatbuild.engine.project import Project
from tests.builds.toolchain import ToyExecutor
assert build(Project.prepared(Path.cwd()), executor=ToyExecutor()).ok
for name in ("requests", "urllib3", "fsspec", "tqdm", "qatbuild.engine.store.shared", "qatbuild.engine.store.remote",
             "qatbuild.engine.cache"):
    assert name not in sys.modules, name
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as here:
        yield here


def test_a_clone_restores_without_a_worker_and_without_tensorflow(team: Team, server: Server) -> None:
    team.use(server.url)
    assert len(team.first.built()) == 8
    clone = team.clone()
    (clone.root / "dodo.py").write_text(WITHOUT_WORKERS)
    done = clone.doit()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 restored" in done.stdout
    assert done.stdout.endswith("False False\n")
    assert label_files(clone) == label_files(team.first)


def test_without_a_cache_nothing_is_imported_for_it(tmp_path: Path) -> None:
    toy_at(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", WITHOUT_CACHE], cwd=tmp_path, env=environment, check=True)


@pytest.mark.parametrize("kind", ["closed", "hanging", "broken"])
def test_a_cache_that_is_down_is_said_once_and_the_build_goes_on(team: Team, server: Server, kind: str) -> None:
    server.fault = lambda _method, _path: {"hanging": "hang", "broken": "500"}.get(kind, "")
    with taken_port() as (_, closed):
        team.use(f"http://127.0.0.1:{closed}/x" if kind == "closed" else server.url, cache_timeout=0.2)
        done = team.first.doit("-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(team.first.runs()) == 8
    (line,) = done.stderr.splitlines()
    assert "does not work" in line
    assert "The build goes on without it" in line


def test_a_url_that_leads_nowhere_is_said_and_the_build_goes_on(team: Team) -> None:
    team.use("nowhere://bucket/team")
    done = team.first.doit()
    assert done.returncode == 0
    assert follows("write another scheme, or install the package that fsspec names") in done.stderr
    assert len(team.first.runs()) == 8
    team.use(team.cache)
    assert team.first.doit().stderr == ""


def test_the_mode_read_uploads_nothing_and_off_asks_for_nothing(
    team: Team, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.use(server.url)
    team.first.built()
    kept = dict(server.files)
    clone = team.clone()
    clone.spec("net", evaluate={"min_top1": 50})
    monkeypatch.setenv("QATBUILD_CACHE_MODE", "read")
    assert clone.built() == ["evaluate"]
    assert server.files == kept
    server.seen.clear()
    monkeypatch.setenv("QATBUILD_CACHE_MODE", "off")
    assert len(team.clone("other").built()) == 8
    assert server.seen == []


def test_a_clone_without_a_store_of_its_own_uses_the_cache(team: Team, server: Server) -> None:
    team.use(server.url)
    settings = team.first.root / "pyproject.toml"
    settings.write_text(settings.read_text() + "store = false\n")
    team.first.built()
    clone = team.clone()
    assert clone.built() == []
    assert label_files(clone) == label_files(team.first)


def test_an_interrupt_while_results_are_uploaded_leaves_them_to_the_next_build(team: Team, server: Server) -> None:
    team.use(server.url, cache_timeout=PATIENCE_S)
    server.fault = lambda method, _path: "hang" if method == "PUT" else ""
    process = team.first.started()
    assert process.stdout is not None
    assert any("8 built" in line for line in process.stdout)
    assert server.has_fault.wait(PATIENCE_S)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "does not have 8 results yet" in said
    server.fault = lambda _method, _path: ""
    team.first.spec("net", evaluate={"min_top1": 50})
    team.first.runs()
    assert team.first.built() == ["evaluate"]
    clone = team.clone()
    clone.spec("net")
    assert clone.built() == []


def test_a_build_that_was_killed_while_it_fetched_is_followed_by_a_whole_one(team: Team, server: Server) -> None:
    team.use(server.url, cache_timeout=PATIENCE_S)
    team.first.built()
    clone = team.clone()
    server.fault = lambda method, path: "stall" if method == "GET" and "cas/" in path else ""
    process = clone.started()
    assert server.has_fault.wait(PATIENCE_S)
    partial = clone.root / "build/.qatbuild/partial"
    while not any(path.is_file() and path.stat().st_size for path in partial.glob("*")):
        assert process.poll() is None
    process.kill()
    process.communicate()
    server.fault = lambda _method, _path: ""
    assert clone.built() == []
    assert any(each.startswith("GET") for each in server.seen)
    assert label_files(clone) == label_files(team.first)
