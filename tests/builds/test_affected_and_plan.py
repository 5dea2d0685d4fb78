"""`affected` and `plan` name the same labels, whatever changed since a revision that was built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qatbuild.engine.build import build
from qatbuild.engine.forecast import CURRENT
from qatbuild.engine.git import Revision
from qatbuild.engine.project import Project
from qatbuild.plugin.commands.affected import _compare
from qatbuild.plugin.session import Session
from tests.builds.conftest import DODO, SPEC
from tests.builds.test_affected import NETWORK, git
from tests.builds.toolchain import ToyExecutor

PATHS = {
    "plain": "data.bin",
    "linked": "link.bin",
    "chained": "chain.bin",
    "absolute": "absolute.bin",
    "below_a_link": "up/real.bin",
    "folder": "pictures",
    "linked_folder": "more_pictures",
    "submodule": "../data/s.bin",
    "nested": "../data/inner/n.bin",
    "linked_submodule": "sub.bin",
    "submodule_folder": "../data",
    "ignored": "ignored.bin",
    "linked_ignored": "to_ignored.bin",
}


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a folder of its repository, with links, submodules and ignored data; committed and built."""
    place = tmp_path_factory.mktemp("repositories")
    for name in ("inner", "data"):
        repository(place / name, {f"{name[0] if name == 'inner' else 's'}.bin": name, "README": "read me"})
    (place / "inner/i.bin").rename(place / "inner/n.bin")
    save(place / "inner")
    submodule(place / "data", place / "inner", "inner")
    top = place / "top"
    repository(top, {".gitignore": "build/\n__pycache__/\nignored.bin\n", "shared/real.bin": "real", "shared/x.py": ""})
    write(top / "shared/layers.py", NETWORK)
    write(top / "shared/pictures/a/1.png", "one")
    write(top / "shared/pictures/a/2.png", "two")
    write(top / "shared/specs/base.json", json.dumps({**SPEC, "dataset": {"name": "cifar10", "path": "none.bin"}}))
    root = top / "models"
    write(root / "dodo.py", DODO)
    write(root / "pyproject.toml", '[tool.qatbuild]\nstore = false\nallow = ["../shared"]\n')
    write(root / "nets.py", NETWORK)
    (root / "linked_nets.py").symlink_to("../shared/layers.py")
    submodule(top, place / "data", "models/data")
    specs = root / "specs"
    for name, path in PATHS.items():
        kind = "images" if "folder" in name else "cifar10"
        write(specs / f"{name}.json", json.dumps({**SPEC, "dataset": {"name": kind, "path": path}}))
    for name, module in (("code", "nets"), ("linked_code", "linked_nets")):
        write(specs / f"{name}.json", json.dumps({**SPEC, "model": {"call": f"{module}:build"}}))
    (specs / "linked_spec.json").symlink_to("../../shared/specs/linked.txt")
    write(top / "shared/specs/linked.txt", json.dumps({**SPEC, "quantize": {"steps": 9}}))
    write(specs / "data.bin", "pixels")
    write(specs / "ignored.bin", "ignored")
    write(specs / "pictures/b/3.png", "three")
    for link, target in {
        "link.bin": "../../shared/real.bin",
        "chain.bin": "hop.bin",
        "hop.bin": "link.bin",
        "absolute.bin": str(top / "shared/real.bin"),
        "up": "../../shared",
        "pictures/a": "../../../shared/pictures/a",
        "pictures/b/4.png": "../../../../shared/real.bin",
        "more_pictures": "pictures",
        "sub.bin": "../data/s.bin",
        "to_ignored.bin": "ignored.bin",
    }.items():
        (specs / link).symlink_to(target)
    save(top)
    git(top, "submodule", "update", "--init", "--recursive")
    result = build(Project.prepared(root), executor=ToyExecutor())
    assert result.ok, result.errors
    return top


def repository(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        write(folder / name, text)
    git(folder, "init", "-q", "--template=")
    save(folder)


def submodule(top: Path, source: Path, name: str) -> None:
    git(top, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(source), name)
    git(top, "-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init", "--recursive")
    save(top)


def save(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "a commit")


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def relinked(file: Path, target: str) -> None:
    file.unlink()
    file.symlink_to(target)


def spec(top: Path, name: str, **fields: object) -> None:
    file = top / "models/specs" / f"{name}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def edited(name: str, text: str = "edited") -> Callable[[Path], None]:
    return lambda top: write(top / name, text)


def link_leads_elsewhere(top: Path) -> None:
    write(top / "shared/other.bin", "other")
    relinked(top / "models/specs/hop.bin", "../../shared/other.bin")


def link_leads_to_a_copy(top: Path) -> None:
    shutil.copy(top / "shared/real.bin", top / "shared/copy.bin")
    relinked(top / "models/specs/link.bin", "../../shared/copy.bin")


def link_leads_nowhere(top: Path) -> None:
    relinked(top / "models/specs/link.bin", "nowhere.bin")


def data_becomes_a_link_to_a_copy(top: Path) -> None:
    (top / "models/specs/data.bin").rename(top / "shared/moved.bin")
    (top / "models/specs/data.bin").symlink_to("../../shared/moved.bin")


def link_becomes_its_target(top: Path) -> None:
    link = top / "models/specs/link.bin"
    link.unlink()
    shutil.copy(top / "shared/real.bin", link)


def folder_becomes_a_link_to_another(top: Path) -> None:
    shutil.copytree(top / "shared/pictures/a", top / "shared/pictures/c")
    write(top / "shared/pictures/c/5.png", "five")
    relinked(top / "models/specs/pictures/a", "../../../shared/pictures/c")


def picture_is_removed(top: Path) -> None:
    (top / "shared/pictures/a/1.png").unlink()


def picture_is_renamed(top: Path) -> None:
    git(top, "mv", "shared/pictures/a/1.png", "shared/pictures/a/7.png")


def data_and_spec_are_renamed(top: Path) -> None:
    git(top, "mv", "models/specs/data.bin", "models/specs/renamed.bin")
    for name in ("plain", "code", "linked_code"):
        spec(top, name, dataset={"name": "cifar10", "path": "renamed.bin"})


def data_is_removed(top: Path) -> None:
    (top / "models/specs/data.bin").unlink()


def data_is_executable(top: Path) -> None:
    (top / "models/specs/data.bin").chmod(0o755)


def data_is_no_longer_tracked(top: Path) -> None:
    git(top, "rm", "-q", "--cached", "models/specs/data.bin")
    write(top / ".gitignore", "build/\n__pycache__/\nignored.bin\ndata.bin\n")


def submodule_is_bumped(top: Path) -> None:
    write(top / "models/data/s.bin", "bumped")
    save(top / "models/data")


def submodule_is_bumped_and_committed(top: Path) -> None:
    submodule_is_bumped(top)
    save(top)


def inner_submodule_is_bumped(top: Path) -> None:
    write(top / "models/data/inner/n.bin", "bumped")
    save(top / "models/data/inner")
    save(top / "models/data")


def submodule_has_a_new_file(top: Path) -> None:
    write(top / "models/data/new.bin", "new")


def submodule_is_bumped_and_not_checked_out(top: Path) -> None:
    submodule_is_bumped_and_committed(top)
    git(top, "submodule", "deinit", "-q", "-f", "models/data")


def comment_is_added(top: Path) -> None:
    write(top / "models/nets.py", f"# a comment\n{NETWORK}")


def spec_is_added(top: Path) -> None:
    shutil.copy(top / "models/specs/plain.json", top / "models/specs/added.json")
    spec(top, "added", evaluate={"min_top1": 3})


SUBMODULE = {"submodule", "linked_submodule", "submodule_folder"}
PICTURES = {"folder", "linked_folder"}
DATA = {"plain", "code", "linked_code", "linked_spec"}

CASES: tuple[dict[Callable[[Path], None], set[str]], ...] = (
    {
        edited("shared/notes.txt"): set(),
        comment_is_added: set(),
        link_leads_to_a_copy: set(),
        data_becomes_a_link_to_a_copy: set(),
    },
    {
        data_is_executable: set(),
        data_is_no_longer_tracked: set(),
        link_becomes_its_target: set(),
        spec_is_added: {"added"},
    },
    {
        edited("models/specs/data.bin"): DATA,
        submodule_is_bumped: SUBMODULE,
        edited("shared/pictures/a/9.png"): PICTURES,
    },
    {
        edited("shared/real.bin"): {"linked", "chained", "absolute", "below_a_link", *PICTURES},
        submodule_is_bumped_and_committed: SUBMODULE,
    },
    {
        link_leads_elsewhere: {"chained"},
        edited("models/data/s.bin"): SUBMODULE,
        picture_is_removed: PICTURES,
        edited("shared/layers.py", f"{NETWORK}\nx = 1\n"): {"linked_code"},
    },
    {
        link_leads_nowhere: {"linked", "chained"},
        edited("models/data/README"): {"submodule_folder"},
        data_and_spec_are_renamed: DATA,
    },
    {
        folder_becomes_a_link_to_another: PICTURES,
        edited("models/data/inner/n.bin"): {"nested", "submodule_folder"},
        edited("models/nets.py", f"{NETWORK}\nx = 1\n"): {"code"},
        edited("shared/specs/linked.txt", json.dumps({**SPEC, "quantize": {"steps": 8}})): {"linked_spec"},
    },
    {
        edited("shared/pictures/a/2.png"): PICTURES,
        inner_submodule_is_bumped: {"nested", "submodule_folder"},
        lambda top: spec(top, "plain", evaluate={"min_top1": 50}): {"plain"},
    },
    {
        data_is_removed: DATA,
        submodule_has_a_new_file: {"submodule_folder"},
        picture_is_renamed: PICTURES,
    },
    {submodule_is_bumped_and_not_checked_out: {*SUBMODULE, "nested"}},
)  # fmt: skip
"""Changes that are made together, and the labels that each makes stale."""


@pytest.fixture(scope="module")
def kept(committed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, which is bound to its place."""
    return Path(shutil.copytree(committed, tmp_path_factory.mktemp("kept") / "top", symlinks=True))


@pytest.fixture
def top(committed: Path, kept: Path) -> Iterator[Path]:
    """The project, which is put back afterwards as it was."""
    yield committed
    shutil.rmtree(committed)
    shutil.copytree(kept, committed, symlinks=True)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_affected_names_the_labels_that_plan_calls_stale(top: Path, case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(top / "models")
    git(top, "tag", "built")
    for change in CASES[case]:
        change(top)
    labels = {label for each in CASES[case].values() for label in each}
    session = Session.load(Project.at(top / "models"))
    stale = [verdict.stage for verdict in session.forecast(session.plan.labels).values() if verdict.will != CURRENT]
    planned = {label for stage in stale for label in stage.labels}
    affected, _ = _compare(session, Revision(top / "models", "built"))
    assert not session.errors
    assert (planned, {*affected}) == (labels, labels)
    assert all(reason.text for stages in affected.values() for reasons in stages.values() for reason in reasons)


def test_submodule_that_is_only_not_checked_out_affects_nothing(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(top / "models")
    git(top, "submodule", "deinit", "-q", "-f", "models/data")
    write(top / "shared/notes.txt", "edited")
    session = Session.load(Project.at(top / "models"))
    assert _compare(session, Revision(top / "models", "HEAD")) == ({}, [])


def test_ignored_data_is_unknown_to_git(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(top / "models")
    write(top / "models/specs/ignored.bin", "edited")
    session = Session.load(Project.at(top / "models"))
    stale = [verdict.stage for verdict in session.forecast(session.plan.labels).values() if verdict.will != CURRENT]
    assert {label for stage in stale for label in stage.labels} == {"ignored", "linked_ignored"}
    assert _compare(session, Revision(top / "models", "HEAD")) == ({}, [])
    relinked(top / "models/specs/to_ignored.bin", "../build/.gitignore")
    session = Session.load(Project.at(top / "models"))
    assert {*_compare(session, Revision(top / "models", "HEAD"))[0]} == {"linked_ignored"}
