"""`doit diff [REF] [REF]`: what differs between two times of a project, from results that exist."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.builds.conftest import SPEC, ToyProject, toy_at
from tests.builds.test_affected import NETWORK, git
from tests.hints import follows

BETTER = {
    "metrics": {"top1": {"float": 92.0, "fake_quant": 91.5, "tflite": 91.4, "better": "higher", "percent": True}},
    "bytes": {"tflite": 110, "ratio": 3.6},
}
"""What the toy evaluation reports from now on."""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    """A repository whose first commit is built: `net`, and `own` with a network and data of its own. Not to touch."""
    toy = toy_at(tmp_path_factory.mktemp("diff") / "project")
    (toy.root / "pyproject.toml").write_text("[tool.qatbuild]\nthreads = 2\n")
    (toy.root / ".gitignore").write_text("build/\n__pycache__/\nignored.bin\n*.txt\nreport.json\n")
    (toy.root / "nets.py").write_text(NETWORK)
    (toy.root / "ignored.bin").write_text("local")
    toy.spec("own", model={"call": "nets:build"}, dataset={"name": "cifar10", "path": "../ignored.bin"})
    git(toy.root, "init", "-q", "-b", "main")
    git(toy.root, "add", "-A")
    git(toy.root, "commit", "-qm", "first")
    toy.built()
    return toy


@pytest.fixture
def versioned(first: ToyProject, tmp_path: Path) -> ToyProject:
    """A copy of the built repository, whose next evaluations are better."""
    shutil.copytree(first.root, tmp_path / "project", symlinks=True)
    (tmp_path / "project/report.json").write_text(json.dumps(BETTER))
    return ToyProject(tmp_path / "project")


def diff(toy: ToyProject, *names: str) -> dict[str, Any]:
    """The labels of `doit diff --format json` by name."""
    done = toy.doit("diff", "--format", "json", *names)
    assert done.returncode == 0, done.stdout + done.stderr
    return {each["label"]: each for each in json.loads(done.stdout)["labels"]}


def top1(summary: dict[str, Any]) -> float:
    return float(summary["metrics"]["top1"]["tflite"])


def test_before_a_build_only_the_former_results_are_shown_and_after_it_both(versioned: ToyProject) -> None:
    assert diff(versioned) == {}
    versioned.spec("net", train={**SPEC["train"], "steps": 200})
    before = diff(versioned)["net"]
    assert top1(before["former"]) == 89.4
    assert before["now"]["missing"] == ["net:float is neither built nor kept"]
    assert before["fields"][-1] == {"pointer": "/train/steps", "former": 100, "now": 200}
    assert {"pointer": "/quantize/steps", "former": 20, "now": 40} in before["fields"]  # A fifth, by default.
    versioned.built("net")
    after = diff(versioned)["net"]
    assert (top1(after["former"]), top1(after["now"])) == (89.4, 91.4)
    assert (after["former"]["bytes"], after["now"]["bytes"]) == (100, 110)
    assert "float 90.00 → 92.00" in versioned.doit("diff").stdout
    comment = versioned.doit("diff", "main", "--format", "markdown").stdout
    assert comment.startswith("### qatbuild: 1 changed, from main to the working tree\n")
    assert "| `net` | top1 | 90.00 → 92.00 | 89.50 → 91.50 | 89.40 → 91.40 (+2.00) |" in comment
    assert versioned.doit("diff", "main", "--format", "markdown").stdout == comment


def test_two_revisions_are_compared_whatever_the_working_tree_holds(versioned: ToyProject) -> None:
    versioned.spec("net", evaluate={"min_top1": 50})
    (versioned.root / "specs/own.json").unlink()
    versioned.spec("more")
    (versioned.root / "specs/data.bin").write_text("others")
    (versioned.root / "uv.lock").write_text("")
    git(versioned.root, "add", "-A")
    git(versioned.root, "commit", "-qm", "second")
    versioned.built()
    versioned.spec("net", trian={})
    labels = diff(versioned, "main~1", "main")
    assert {label: each["fate"] for label, each in labels.items()} == {
        "more": "new",
        "net": "changed",
        "own": "removed",
    }
    assert (top1(labels["net"]["former"]), top1(labels["net"]["now"])) == (89.4, 91.4)
    assert labels["net"]["fields"] == [{"pointer": "/evaluate/min_top1", "former": None, "now": 50}]
    assert labels["net"]["inputs"] == ["uv.lock changed", "specs/data.bin changed"]
    assert (top1(labels["more"]["now"]), top1(labels["own"]["former"])) == (91.4, 89.4)
    assert {label: each["fate"] for label, each in diff(versioned, "main", "main~1").items()} == {
        "more": "removed",
        "net": "changed",
        "own": "new",
    }


def test_changed_data_and_code_are_named_and_the_former_results_are_those_of_the_former_bytes(
    versioned: ToyProject,
) -> None:
    (versioned.root / "specs/data.bin").write_text("others")
    (versioned.root / "nets.py").write_text(f"LAYERS = 3\n{NETWORK}")
    versioned.built()
    labels = diff(versioned)
    assert {label: each["inputs"] for label, each in labels.items()} == {
        "net": ["specs/data.bin changed"],
        "own": ["code: nets changed"],
    }
    assert (top1(labels["net"]["former"]), top1(labels["net"]["now"])) == (89.4, 91.4)
    assert (top1(labels["own"]["former"]), top1(labels["own"]["now"])) == (89.4, 89.4)  # It was cut off.


def test_without_a_store_a_former_result_is_the_one_in_the_build_folder_until_it_is_replaced(
    versioned: ToyProject,
) -> None:
    (versioned.root / "pyproject.toml").write_text("[tool.qatbuild]\nthreads = 2\nstore = false\n")
    shutil.rmtree(versioned.root / "build/.store")
    versioned.spec("net", evaluate={"min_top1": 50})
    assert top1(diff(versioned)["net"]["former"]) == 89.4
    versioned.built("net")
    after = diff(versioned)["net"]
    assert after["former"]["missing"] == ["net:evaluate is neither built nor kept"]
    assert top1(after["now"]) == 91.4


def test_a_result_that_other_threads_made_is_shown_as_such(versioned: ToyProject) -> None:
    shutil.rmtree(versioned.root / "build")
    settings = versioned.root / "pyproject.toml"
    settings.write_text("[tool.qatbuild]\nthreads = 3\n")
    versioned.built("net")
    settings.write_text("[tool.qatbuild]\nthreads = 2\n")
    versioned.spec("net", evaluate={"min_top1": 50})
    (versioned.root / "report.json").unlink()
    versioned.built("net")
    net = diff(versioned)["net"]
    assert (top1(net["former"]), top1(net["now"])) == (91.4, 89.4)
    assert (net["former"]["unlike"], net["now"]["unlike"]) == (["threads: 3 -> 2"], [])
    assert "before: made otherwise, threads: 3 -\\> 2" in versioned.doit("diff", "--format", "markdown").stdout


def test_a_refused_model_has_its_verdict_and_a_failed_one_its_reason(versioned: ToyProject) -> None:
    gate = {"name": "min_top1", "wanted": "95", "got": "91.4", "passed": False}
    (versioned.root / "report.json").write_text(json.dumps({**BETTER, "gates": [gate]}))
    (versioned.root / "broken.txt").write_text("evaluate refuse")
    versioned.spec("net", evaluate={"min_top1": 95})
    assert versioned.doit("net").returncode == 1
    assert "1 of 1 passed → REFUSED: min_top1" in versioned.doit("diff").stdout
    (versioned.root / "broken.txt").write_text("float fail")
    versioned.spec("net", train={**SPEC["train"], "steps": 7})
    assert versioned.doit("net").returncode == 1
    assert diff(versioned)["net"]["now"]["missing"] == ["net:float FAILED: The toy float fails."]


def test_an_edited_report_is_not_shown(versioned: ToyProject) -> None:
    versioned.spec("net", evaluate={"min_top1": 50})
    versioned.built("net")
    report = versioned.root / "build/net/report.json"
    report.write_text(report.read_text().replace("91.4", "99.9"))
    assert diff(versioned)["net"]["now"]["missing"] == ["net:evaluate has no report as it was built"]


def test_a_spec_with_faults_is_named_and_the_others_are_compared(versioned: ToyProject) -> None:
    versioned.spec("net", evaluate={"min_top1": 50})
    versioned.spec("own", trian={})
    done = versioned.doit("diff", "--format", "markdown")
    assert done.returncode == 1
    assert "**`own` has faults: run `doit check own`.**" in done.stdout
    assert "| `net` |" in done.stdout
    assert "(removed)" not in done.stdout
    assert "unknown field" in done.stderr


def test_a_third_revision_is_one_error_with_a_hint(versioned: ToyProject) -> None:
    done = versioned.doit("diff", "main", "HEAD", "net")
    assert done.returncode == 3
    assert f"hint: {follows('doit diff main HEAD')}" in done.stderr
    assert versioned.doit("diff", "main", "HEAD").stdout.startswith("qatbuild: no label differs")


def test_settings_with_faults_at_a_revision_are_one_error_that_names_the_revision(versioned: ToyProject) -> None:
    settings = (versioned.root / "pyproject.toml").read_text()
    (versioned.root / "pyproject.toml").write_text("[tool.qatbuild]\ncolour = 1\n")
    git(versioned.root, "commit", "-qam", "a setting of another version")
    (versioned.root / "pyproject.toml").write_text(settings)
    done = versioned.doit("diff", "main")
    assert done.returncode == 3
    assert "So they were at main." in done.stderr
    assert "/tmp" not in done.stderr


def test_an_unknown_revision_and_a_project_outside_of_git_are_one_error_with_what_helps(
    toy: ToyProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(toy.root.parent))
    done = toy.doit("diff")
    assert (done.returncode, done.stdout) == (3, "")
    hint = follows("git init, and commit what is to be compared; `doit report --compare A B` needs no git")
    assert f"hint: {hint}" in done.stderr
    git(toy.root, "init", "-q", "-b", "main")
    git(toy.root, "add", "-A")
    git(toy.root, "commit", "-qm", "first")
    assert toy.doit("diff").stdout == "qatbuild: no label differs, from HEAD to the working tree\n"
    for revisions in (("nope",), ("HEAD", "nope"), ("--json", "nope")):
        done = toy.doit("diff", *revisions)
        assert (done.returncode, done.stdout) == (3, "")
        assert "revision  nope" in done.stderr
        assert "Traceback" not in done.stderr
