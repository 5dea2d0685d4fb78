"""After any sequence of changes the incremental build leaves what a clean build leaves.

Real doit, real requests and manifests, toy stages whose artifacts say what they were made from: settings, inputs, data
and code. Every build runs in a fork, so that it can be killed at any moment; and with a copy of qatbuild of its own, if
that was edited.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from doit.cmd_base import NamespaceTaskLoader
from doit.doit_cmd import DoitMain
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from qatbuild.engine.code_digest import PACKAGE
from qatbuild.engine.digests import Digests
from qatbuild.engine.fast_path import FastPath
from qatbuild.engine.project import Only
from qatbuild.engine.rebuild import Freshness, Rebuilder
from qatbuild.exchange.manifest import Manifest
from qatbuild.exchange.request import Request
from qatbuild.plugin import door
from tests.builds.conftest import SPEC
from tests.builds.toolchain import ToyExecutor

NETWORK = "def build(images, classes, *, training):\n    return {}\n"
Change = tuple[Callable[..., None], tuple[object, ...]]


class Telling(ToyExecutor):
    """Toy stages whose artifacts also say which code made them."""

    def text(self, request):
        return super().text(request) if request.stage == "evaluate" else super().text(request) + request.code


class Loader(NamespaceTaskLoader):
    """A dodo.py without a file."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def setup(self, _: object) -> None:
        config, task_specs = door(str(self.root / "dodo.py"), Telling())
        self.namespace = {"DOIT_CONFIG": config, "task_specs": task_specs}


def build(root: Path, killed_at: int = 0) -> int:
    """Build in a fork; its exit status. It is killed as it touches the project's files for the `killed_at`-th time."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.chdir(root)
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                sys.stdout = nowhere
                if (root / "engine").exists():
                    use_copy(root / "engine")
                if killed_at:
                    kill_at(str(root), killed_at)
                status = DoitMain(sys.modules[__name__].Loader(root)).run([])
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def use_copy(folder: Path) -> None:
    """Import qatbuild again from a copy, and the modules of the tests too."""
    for name in [name for name in sys.modules if name.partition(".")[0] in {"qatbuild", "tests"}]:
        del sys.modules[name]
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    importlib.import_module(__name__)
    assert Path(sys.modules["qatbuild"].__file__ or "").is_relative_to(folder)


def kill_at(root: str, moment: int) -> None:
    """Kill this process when it opens, moves, links or removes something of the project for the `moment`-th time."""
    count = itertools.count(1)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        here = event in TOUCHES and any(os.path.abspath(str(path)).startswith(root) for path in arguments[:2])  # noqa: PTH100
        if here and next(count) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


TOUCHES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "sqlite3.connect"}


def new_project(root: Path) -> Path:
    (root / "specs").mkdir(parents=True)
    (root / "specs/data.bin").write_text("pixels")
    (root / "net.py").write_text(NETWORK.format("images"))
    for name in ("one", "two"):
        (root / f"specs/{name}.json").write_text(json.dumps({**SPEC, "model": {"call": "net:build"}}))
    return root


def edit_spec(root: Path, name: str, field: tuple[str, str], value: object) -> None:
    file = root / f"specs/{name}.json"
    document = json.loads(file.read_text())
    document.setdefault(field[0], {})[field[1]] = value
    file.write_text(json.dumps(document))


def edit_data(root: Path, text: str) -> None:
    """In place and with the old mtime, as rsync and tar leave it."""
    file = root / "specs/data.bin"
    status = file.stat()
    file.write_text(text)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def edit_network(root: Path, body: str) -> None:
    (root / "net.py").write_text(NETWORK.format(body))


def hurt(root: Path, number: int, how: str) -> None:
    """Remove, truncate, overwrite or touch one file of the build."""
    files = sorted(path for path in (root / "build").rglob("*") if path.is_file() and ".qatbuild" not in path.parts)
    if files:
        file = files[number % len(files)]
        if how == "remove":
            file.unlink()
        elif how == "touch":
            os.utime(file, (1, 1))
        else:
            status, data = file.stat(), file.read_bytes()
            file.write_bytes(data[: len(data) // 2] if how == "truncate" else bytes(len(data)))
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def edit_engine(root: Path, module: str, line: str) -> None:
    """A line at the end of a module of qatbuild itself."""
    engine = root / "engine/qatbuild"
    if not engine.exists():
        shutil.copytree(PACKAGE, engine, ignore=shutil.ignore_patterns("__pycache__"))
    source = (PACKAGE / module).read_text()
    (engine / module).write_text(f"{source}\n{line}\n")


def hurt_model(root: Path) -> None:
    """Half of one model is gone."""
    model = root / "build/one/model.tflite"
    model.write_bytes(model.read_bytes()[:-10])


def kill(root: Path, stage: str) -> None:
    """A build that dies in the middle of a stage."""
    (root / "broken.txt").write_text(f"{stage} crash")
    build(root)
    (root / "broken.txt").unlink()


def kill_somewhere(root: Path, moment: int) -> None:
    """A build that is killed at some moment, if it takes that long."""
    assert build(root, moment) in {0, -signal.SIGKILL}


def settle(root: Path) -> None:
    """A build, and one more, which looks at files only."""
    build(root)
    build(root)


MOMENTS = 1200
"""About how often a build of both specs touches the files of its project."""

FIELDS = [("evaluate", "min_top1"), ("train", "steps"), ("input", "std_dev"), ("quantize", "steps")]
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.tuples(
        st.just(edit_spec),
        st.tuples(st.sampled_from(["one", "two"]), st.sampled_from(FIELDS), st.sampled_from([50, 60, 70])),
    ),
    st.tuples(st.just(edit_data), st.tuples(st.sampled_from(["pixels", "PIXELS", "others"]))),
    st.tuples(st.just(edit_network), st.tuples(st.sampled_from(["images", "images  # a comment", "-images"]))),
    st.tuples(
        st.just(hurt),
        st.tuples(st.integers(0, 200), st.sampled_from(["remove", "truncate", "overwrite", "touch"])),
    ),
    st.tuples(
        st.just(edit_engine),
        st.tuples(
            st.sampled_from(
                ["worker/stages/freeze.py", "worker/training/loop.py", "worker/run.py", "engine/rebuild.py"]
            ),
            st.sampled_from(["# a comment", "VALUE = 1", "VALUE = 2"]),
        ),
    ),
    st.tuples(st.just(kill), st.tuples(st.sampled_from(["dataset", "float", "freeze", "evaluate"]))),
    st.tuples(st.just(kill_somewhere), st.tuples(st.integers(1, MOMENTS))),
    st.tuples(st.just(settle), st.just(())),
)


def published(root: Path) -> dict[str, bytes]:
    """Every manifest and all that it names, by path below the build."""
    contents = {}
    for path in (root / "build").rglob("*.manifest.json"):
        manifest = Manifest.read(path)
        for file in (path, *(path.parent / name for name in manifest.files)):
            contents[str(file.relative_to(root / "build"))] = file.read_bytes() if file.exists() else b""
    return contents


def is_correct(root: Path, wrong: AbstractContextManager[object] | None = None) -> bool:
    """Whether a build leaves each file that a clean build makes, byte for byte.

    The build is done under the patch `wrong`, if there is one: a negative control.
    """
    with wrong or nullcontext():
        assert build(root) == 0
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "clean"
        shutil.copytree(root, clean, ignore=shutil.ignore_patterns("build", "runs.txt"))
        assert build(clean) == 0
        here = published(root)
        return all(here.get(name) == data for name, data in published(clean).items())


def correct_after(changes: list[Change], wrong: AbstractContextManager[object] | None = None) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        root = new_project(Path(folder).resolve() / "project")
        settle(root)
        for change, arguments in changes:
            change(root, *arguments)
        return is_correct(root, wrong)


quick = functools.partial(
    settings,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
    database=None,
)


@quick(max_examples=12)
@given(st.lists(CHANGES, min_size=1, max_size=6))
def test_incremental_build_leaves_what_a_clean_build_leaves(changes: list[Change]) -> None:
    assert correct_after(changes)


@quick(max_examples=8)
@given(st.lists(st.integers(1, MOMENTS), min_size=1, max_size=3))
def test_builds_that_were_killed_at_any_moments_leave_what_a_clean_build_leaves(moments: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = new_project(Path(folder).resolve() / "project")
        for moment in moments:
            kill_somewhere(root, moment)
        assert is_correct(root)


def test_builds_run_the_edited_code_of_qatbuild() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = new_project(Path(folder).resolve() / "project")
        settle(root)
        former = published(root)
        edit_engine(root, "worker/stages/freeze.py", "# a comment")
        assert is_correct(root)
        assert published(root) == former
        edit_engine(root, "worker/stages/freeze.py", "VALUE = 1")
        assert is_correct(root)
        other = {name for name, data in published(root).items() if former.get(name) != data}
        assert {"one/frozen_graph.pb", "two/frozen_graph.pb"} <= other
        assert not any(name.startswith("shared/") for name in other)


def believing(_: Rebuilder, request: Request) -> Freshness:
    """What was built once is up to date."""
    return Freshness([], tuple(Manifest.read(Manifest.path_of(request.folder, request.stage)).files))


WRONG: dict[str, tuple[Change, tuple[Any, str, Any]]] = {
    "it does not look at its artifacts": (
        (hurt_model, ()),
        (Digests, "damage", lambda *_: []),
    ),
    "it believes that everything is as it was built": (
        (edit_data, ("others",)),
        (Rebuilder, "freshness", believing),
    ),
    "its fast path believes that all is up to date": (
        (edit_data, ("others",)),
        (FastPath, "check", lambda self, _: setattr(self, "selection", Only(()))),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_property_detects_a_wrong_rebuilder(name: str) -> None:
    """The negative control: after one change, a build with a broken rebuilder is not correct."""
    change, (owner, attribute, wrong) = WRONG[name]
    assert correct_after([change])
    assert not correct_after([change], mock.patch.object(owner, attribute, wrong))
