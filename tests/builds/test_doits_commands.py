"""doit's own commands with unknown names and options: one readable block, a non-zero exit, no traceback."""

from __future__ import annotations

import os

import pytest

from tests.builds.conftest import ToyProject

STAGES = ["dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate"]
OWN = STAGES[4:]


@pytest.fixture
def many(toy: ToyProject) -> ToyProject:
    """A built spec with two variants, beside the spec `net`, with a store."""
    (toy.root / "pyproject.toml").write_text("[tool.qatbuild]\n")
    toy.spec("many", variants={"a": {"evaluate": {"min_top1": 1}}, "b": {"evaluate": {"min_top1": 2}}})
    toy.built()
    return toy


def test_forgotten_stages_run_again(many: ToyProject) -> None:
    done = many.doit("forget", "many")
    assert done.returncode == 0, done.stderr
    assert "forgetting many@a:convert" in done.stdout
    assert many.built() == [*OWN, "evaluate"]  # Of equal requests the second is restored.
    assert many.doit("forget", "net:float", "net:convert").returncode == 0
    assert many.built() == ["float", "convert"]  # The float stage is shared, and has a second name.
    assert many.doit("forget", "-s", "net:export").returncode == 0
    assert sorted(many.built()) == ["check", "dataset", "export"]


def test_forgetting_everything_needs_no_default(toy: ToyProject) -> None:
    toy.built()
    for options in ((), ("--all",)):
        done = toy.doit("forget", *options)
        assert done.returncode == 0, done.stderr
        assert "forgetting net:convert" in done.stdout or options
        assert sorted(toy.built()) == sorted(STAGES)
    assert toy.doit("forget", "--disable-default", "net:convert").returncode == 0
    assert toy.built() == ["convert"]


def test_cleaning_a_spec_cleans_its_variants_and_says_what(many: ToyProject) -> None:
    files = [many.root / "build" / name / "model.tflite" for name in ("many@a", "many@b", "net")]
    assert "executing 'clean many@a:convert'" in many.doit("clean", "-n", "many").stdout
    assert all(file.exists() for file in files)
    done = many.doit("clean", "many")
    assert done.returncode == 0
    assert "0x" not in done.stdout
    assert "bound method" not in done.stdout
    assert [file.exists() for file in files] == [False, False, True]
    assert many.doit("clean", "net:float").returncode == 0  # By its second name.
    assert many.built() == ["float", *OWN, "evaluate"]


def test_status_of_a_label_is_that_of_its_stages(many: ToyProject) -> None:
    def status(*options: str) -> dict[str, str]:
        rows = [line.split()[:2] for line in many.doit("list", "--status", *options).stdout.splitlines()]
        return {name: letter for letter, name in rows}

    (many.root / "build/.qatbuild/doit.db").unlink()  # It says nothing about what is up to date.
    assert status() == dict.fromkeys(["many", "many@a", "many@b", "net", "shared"], "U")
    assert {*status("--all").values()} == {"U"}
    (many.root / "build/many@a/model.tflite").unlink()
    assert status() == {"many": "R", "many@a": "R", "many@b": "U", "net": "U", "shared": "U"}
    assert many.doit("ignore", "many@a:convert").returncode == 0
    assert status("many@a:convert", "many@a") == {"many@a:convert": "I", "many@a": "U"}


def test_info_about_an_unknown_task_is_one_error_with_the_nearest_name(toy: ToyProject) -> None:
    done = toy.doit("info", "nett")
    assert done.returncode == 3
    assert done.stderr.split("\n")[:2] == ["ERROR: 'nett' is not a task.", "Did you mean net?"]


@pytest.mark.parametrize("command", ["explain", "plan", "list", "clean", "gc"])
def test_ctrl_c_is_one_line(toy: ToyProject, command: str) -> None:
    (toy.root / "dodo.py").write_text("raise KeyboardInterrupt")
    done = toy.doit(command)
    assert done.returncode == 130
    assert done.stderr.strip() == "interrupted"


def test_a_task_called_like_a_command_keeps_its_options(toy: ToyProject) -> None:
    parameters = "[{'name': 'depth', 'short': 'x', 'type': int, 'default': 1}]"
    task = f"{{'actions': ['echo %(depth)s > said.txt'], 'params': {parameters}}}"
    (toy.root / "dodo.py").write_text(f"def task_plan():\n    return {task}\n")
    assert toy.doit("plan", "-x", "7").returncode == 0
    assert (toy.root / "said.txt").read_text() == "7\n"


def test_checking_a_spec_with_faults_shows_its_faults_and_no_other_s(toy: ToyProject) -> None:
    for name in ("bad", "worse"):
        (toy.root / f"specs/{name}.json").write_text("[]")
    done = toy.doit("check", "worse")
    assert done.returncode == 1
    assert "worse.json" in done.stdout
    assert "bad.json" not in done.stdout + done.stderr


def test_a_spec_that_is_a_dangling_link_is_an_error_and_not_overlooked(toy: ToyProject) -> None:
    (toy.root / "specs/far.json").symlink_to("nowhere.json")
    done = toy.doit("far")
    assert done.returncode == 1
    assert "A spec cannot be read." in done.stdout


@pytest.mark.parametrize(
    ("command", "status"),
    [("list", 0), ("list --all", 0), ("info net:convert", 0), ("plan", 0), ("run", 141), ("run -n 2", 141)],
)
def test_a_closed_pipe_gives_no_traceback(toy: ToyProject, command: str, status: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # What `| head` does when it has read enough.
    done = toy.doit(*command.split(), stdout=writer)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == status
