"""After any sequence of changes the incremental build leaves what a clean build leaves.

Real doit, real requests and manifests, toy stages whose artifacts say what they were made from: settings, inputs, data
and code. Every build runs in a fork, so that it can be killed in the middle.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from doit.cmd_base import NamespaceTaskLoader
from doit.doit_cmd import DoitMain
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from qatbuild.artifact import Digests, Manifest
from qatbuild.plugin import door
from qatbuild.plugin.shortcut import Shortcut
from qatbuild.rebuild import Rebuilder
from tests.builds.conftest import SPEC
from tests.builds.toolchain import ToyExecutor

NETWORK = "def build(images, classes, *, training):\n    return {}\n"
Change = tuple[Callable[..., None], tuple[object, ...]]


class Telling(ToyExecutor):
    """Its artifacts also say which code made them."""

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


def build(root: Path) -> int:
    """Build in a fork; its exit status."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.chdir(root)
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                sys.stdout = nowhere
                status = DoitMain(Loader(root)).run([])
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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


def kill(root: Path, stage: str) -> None:
    """A build that dies in the middle of a stage."""
    (root / "broken.txt").write_text(f"{stage} crash")
    build(root)
    (root / "broken.txt").unlink()


def settle(root: Path) -> None:
    """A build, and one more, which looks at files only."""
    build(root)
    build(root)


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
    st.tuples(st.just(kill), st.tuples(st.sampled_from(["dataset", "float", "freeze", "evaluate"]))),
    st.tuples(st.just(settle), st.just(())),
)


def published(root: Path) -> dict[str, bytes]:
    """Every manifest and all that it names, by path below the build."""
    found = {}
    for path in (root / "build").rglob("*.manifest.json"):
        manifest = Manifest.read(path)
        assert manifest.damage(Digests()) == []
        for file in (path, *(path.parent / name for name in manifest.files)):
            found[str(file.relative_to(root / "build"))] = file.read_bytes()
    return found


def is_correct(root: Path) -> bool:
    """Whether a build of now leaves what a clean build leaves: each file that a clean build makes, byte for byte."""
    assert build(root) == 0
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "clean"
        shutil.copytree(root, clean, ignore=shutil.ignore_patterns("build", "runs.txt"))
        assert build(clean) == 0
        try:
            here = published(root)
        except (AssertionError, FileNotFoundError):
            return False
        return all(here.get(name) == data for name, data in published(clean).items())


def correct_after(changes: list[Change]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        root = new_project(Path(folder) / "project")
        settle(root)
        for change, arguments in changes:
            change(root, *arguments)
        return is_correct(root)


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


WRONG = {
    "it does not look at its artifacts": (Manifest, "damage", lambda *_: []),
    "it believes that everything is as it was built": (Rebuilder, "stale", lambda *_: []),
    "its shortcut believes that there is nothing to do": (
        Shortcut,
        "look",
        lambda self, _: setattr(self, "load", [] if (self.project.memory / "record").exists() else None),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_property_refuses_a_wrong_rebuilder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: each of these is wrong after one change that the property can make."""
    changes: list[Change] = [(hurt, (0, "truncate")), (hurt, (2, "truncate")), (edit_spec, ("one", FIELDS[0], 50))]
    owner, attribute, wrong = WRONG[name]
    right = getattr(owner, attribute)
    monkeypatch.setattr(owner, attribute, wrong)
    monkeypatch.setattr(sys.modules[__name__], "published", functools.partial(_published_by, owner, attribute, right))
    refused = []
    for change in changes:
        try:
            refused.append(not correct_after([change]))
        except AssertionError:
            refused.append(True)
    assert any(refused)


def _published_by(owner: type, attribute: str, right: object, root: Path) -> dict[str, bytes]:
    """What is published, seen with sound eyes."""
    wrong = getattr(owner, attribute)
    setattr(owner, attribute, right)
    try:
        return _PUBLISHED(root)
    finally:
        setattr(owner, attribute, wrong)


_PUBLISHED = published
