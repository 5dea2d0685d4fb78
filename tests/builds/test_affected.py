"""`doit affected --since REF`: the labels whose inputs differ from a git revision."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.builds.conftest import DODO, SPEC, ToyProject
from tests.hints import follows

NETWORK = "def build(images, classes, *, training):\n    return images\n"


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def versioned(toy: ToyProject) -> ToyProject:
    """The toy project with two more specs, one with a network of its own, in a git repository's first commit."""
    (toy.root / ".gitignore").write_text("build/\n__pycache__/\nignored.bin\n")
    (toy.root / "nets.py").write_text(NETWORK)
    (toy.root / "specs/_base.json").write_text(json.dumps(SPEC))
    (toy.root / "specs/child.json").write_text(json.dumps({"extends": "_base.json", "quantize": {"steps": 7}}))
    toy.spec("own", model={"call": "nets:build"}, dataset={"name": "cifar10", "path": "ignored.bin"})
    git(toy.root, "init", "-q")
    git(toy.root, "add", "-A")
    git(toy.root, "commit", "-qm", "first")
    return toy


def affected(toy: ToyProject, *arguments: str) -> list[str]:
    done = toy.doit("affected", "--since", "HEAD", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def data(toy: ToyProject) -> Any:
    return json.loads(toy.doit("affected", "--since", "HEAD", "--json").stdout)


def test_nothing_changed_affects_nothing(versioned: ToyProject) -> None:
    assert affected(versioned) == []


def test_a_spec_affects_its_label_and_says_the_field(versioned: ToyProject) -> None:
    versioned.spec("net", evaluate={"min_top1": 50})
    assert affected(versioned) == ["net"]
    (label,) = data(versioned)["labels"]
    assert [stage["stage"] for stage in label["stages"]] == ["evaluate"]
    assert label["stages"][0]["reasons"][0]["text"] == "evaluate.min_top1: null -> 50"


def test_a_base_affects_specs_that_extend_it(versioned: ToyProject) -> None:
    (versioned.root / "specs/_base.json").write_text(json.dumps({**SPEC, "train": {**SPEC["train"], "seed": 2}}))
    assert affected(versioned, "--why") == ["child", "    train.seed: 1 -> 2"]


def test_layout_description_and_comments_affect_nothing(versioned: ToyProject) -> None:
    (versioned.root / "specs/net.json").write_text(json.dumps({**SPEC, "description": "other"}, indent=4))
    (versioned.root / "nets.py").write_text(f"# a comment\n{NETWORK}")
    assert affected(versioned) == []


def test_files_of_qatbuild_and_of_the_system_that_a_route_reads_affect_nothing_while_they_stay(
    versioned: ToyProject,
) -> None:
    versioned.spec("routes", deploy={"tf_cpp": {}, "armnn": {}})
    git(versioned.root, "add", "-A")
    git(versioned.root, "commit", "-qm", "a spec with routes")
    versioned.spec("net", evaluate={"min_top1": 50})
    assert affected(versioned) == ["net"]


def test_data_in_git_affects_specs_that_read_it(versioned: ToyProject) -> None:
    (versioned.root / "specs/data.bin").write_text("others")
    assert affected(versioned, "--why") == [
        "child",
        "    specs/data.bin changed",
        "net",
        "    specs/data.bin changed",
    ]


def test_a_network_affects_specs_that_call_it_also_through_an_import(versioned: ToyProject) -> None:
    (versioned.root / "nets.py").write_text(f"import layers\n{NETWORK}")
    (versioned.root / "layers.py").write_text("x = 1\n")
    assert affected(versioned, "--why") == ["own", "    code: layers is new", "    code: nets changed"]


def test_dependencies_and_threads_affect_everything(versioned: ToyProject) -> None:
    settings = versioned.root / "pyproject.toml"
    settings.write_text('[project]\nname = "x"\ndependencies = ["numpy<3"]\n')
    assert affected(versioned) == ["child", "net", "own"]
    settings.write_text("[tool.qatbuild]\nthreads = 77\n")
    assert affected(versioned) == ["child", "net", "own"]
    settings.write_text('[tool.qatbuild]\ndefault = ["net"]\n')
    assert affected(versioned) == []
    (versioned.root / "uv.lock").write_text("")
    assert "    uv.lock changed" in affected(versioned, "--why")


def test_new_labels_are_affected_and_those_that_are_gone_are_named(versioned: ToyProject) -> None:
    versioned.spec("more")
    (versioned.root / "specs/own.json").unlink()
    assert affected(versioned) == ["more"]
    assert data(versioned)["removed"] == ["own"]


def test_commits_since_the_revision_count(versioned: ToyProject) -> None:
    versioned.spec("net", evaluate={"min_top1": 50})
    git(versioned.root, "commit", "-qam", "second")
    assert affected(versioned) == []
    assert versioned.doit("affected", "--since", "HEAD~1").stdout == "net\n"


def test_a_project_below_the_root_of_its_repository(tmp_path: Path) -> None:
    toy = ToyProject(tmp_path / "vision/models")
    toy.root.mkdir(parents=True)
    (toy.root / "dodo.py").write_text(DODO)
    toy.spec("net")
    (toy.root / "specs/data.bin").write_text("pixels")
    (tmp_path / ".gitignore").write_text("build/\n__pycache__/\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "elsewhere.json").write_text("{}")
    assert affected(toy) == []
    (toy.root / "specs/data.bin").write_text("others")
    assert affected(toy) == ["net"]


def test_labels_may_be_chosen(versioned: ToyProject) -> None:
    (versioned.root / "specs/data.bin").write_text("others")
    assert affected(versioned, "net:float") == ["net"]


def test_a_spec_with_faults_fails_and_the_others_are_printed(versioned: ToyProject) -> None:
    versioned.spec("net", evaluate={"min_top1": 50})
    versioned.spec("own", trian={})
    done = versioned.doit("affected", "--since", "HEAD")
    assert done.returncode == 1
    assert done.stdout == "net\n"
    assert "unknown field" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text", "hint"),
    [
        (("--since", "nope"), "revision  nope", follows("name a commit, a branch or a tag")),
        ((), "The option --since is missing", follows("doit affected --since main")),
    ],
)
def test_an_unknown_revision_is_one_error(
    versioned: ToyProject, arguments: tuple[str, ...], text: str, hint: str
) -> None:
    git(versioned.root, "branch", "-M", "main")
    git(versioned.root, "tag", "released")
    for revision in ("HEAD", "main", "released"):
        assert versioned.doit("affected", "--since", revision).returncode == 0
    done = versioned.doit("affected", *arguments)
    assert f"hint: {hint}" in done.stderr
    assert done.returncode == 3
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_project_outside_of_git_is_one_error(toy: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(toy.root.parent))
    done = toy.doit("affected", "--since", "HEAD")
    assert done.returncode == 3
    assert "not a git repository" in done.stderr
