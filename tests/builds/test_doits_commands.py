"""doit's own commands with unknown names and options: one readable block, a non-zero exit, no traceback."""

from __future__ import annotations

import pytest

from tests.builds.conftest import ToyProject


def test_forgetting_everything_needs_no_default(toy: ToyProject) -> None:
    toy.built()
    done = toy.doit("forget")
    assert done.returncode == 0, done.stderr
    assert "forgetting net:convert" in done.stdout
    assert toy.built() == []  # The disk forgets nothing.


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
    process = toy.started(*command.split())
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # What `| head` does when it has read enough.
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == status
