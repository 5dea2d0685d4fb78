"""Completion in real shells: a line with a TAB is typed at a terminal, and the words that the shell then runs are read.

`doit` is a program that completes as doit does, and otherwise writes down its arguments.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.test_contracts import imported
from tests.builds.conftest import REPOSITORY, ToyProject

DOIT = f"""#!/bin/sh
if [ "$1" = tabcompletion ]; then exec {sys.executable} -m doit "$@"; fi
printf '%s\\n' "$@" > arguments.new && mv arguments.new arguments.txt
echo ready
"""
SOURCED = {
    "bash": 'eval "$(doit tabcompletion)"; bind "set bell-style none"',
    "zsh": 'autoload -Uz compinit; compinit -u -D; eval "$(doit tabcompletion --shell zsh)"',
    "fish": "doit tabcompletion --shell fish | source",
}
START = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}
LONGEST = 120
"""Seconds after which a shell that does not answer fails the test."""


@pytest.fixture
def many(toy: ToyProject) -> ToyProject:
    """A spec with variants beside `net`, and one in a folder."""
    toy.spec("many", variants={"a": {}, "b": {"train": {"steps": 200}}})
    toy.spec("vision/large")
    return toy


class Terminal:
    """An interactive shell at a terminal, with completion of doit switched on."""

    def __init__(self, shell: str, folder: Path) -> None:
        """Starts the shell in a folder with a program `doit`."""
        program = shutil.which(shell)
        if program is None:
            pytest.skip(f"{shell} is not installed: apt-get install {shell}")
        tools = folder / "tools"
        tools.mkdir()
        (tools / "doit").write_text(DOIT)
        (tools / "doit").chmod(0o755)
        self.folder = folder
        master, terminal = pty.openpty()
        environment = {
            **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY), "TERM": "dumb",
            "HOME": str(folder), "PS1": "", "COLUMNS": "200",
        }  # fmt: skip
        self.process = subprocess.Popen(
            ["setsid", "--ctty", program, *START[shell]], cwd=folder, env=environment,
            stdin=terminal, stdout=terminal, stderr=terminal,
        )  # fmt: skip
        os.close(terminal)
        self.master = master

    def run(self, line: str) -> list[str]:
        """Types a line and Enter; returns the arguments that doit got."""
        result = self.folder / "arguments.txt"
        os.write(self.master, f"{line}\n".encode())
        said = b""
        while not result.exists():
            assert select.select([self.master], [], [], LONGEST)[0], said
            said += os.read(self.master, 65536)
        arguments = result.read_text().splitlines()
        result.unlink()
        return arguments

    def close(self) -> None:
        """Ends the shell."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture(params=SOURCED)
def terminal(request: pytest.FixtureRequest, many: ToyProject) -> Iterator[Terminal]:
    shell = Terminal(request.param, many.root)
    try:
        shell.run(f"{SOURCED[request.param]}; doit started")
        yield shell
    finally:
        shell.close()


def test_a_tab_completes_commands_labels_variants_stages_and_options(terminal: Terminal) -> None:
    assert terminal.run("doit expl\t") == ["explain"]
    assert terminal.run("doit vis\t") == ["vision/large"]
    assert terminal.run("doit plan many@b\t") == ["plan", "many@b"]
    assert terminal.run("doit plan many@a:fr\t") == ["plan", "many@a:freeze"]
    assert terminal.run("doit plan net:da\t net:conv\t") == ["plan", "net:dataset", "net:convert"]
    assert terminal.run("doit check --format sar\t") == ["check", "--format", "sarif"]
    assert terminal.run("doit check --format=sar\t") == ["check", "--format=sarif"]
    assert terminal.run("doit affected --sin\t HEAD") == ["affected", "--since", "HEAD"]


def test_a_tab_completes_files_where_an_argument_is_no_label(terminal: Terminal) -> None:
    assert terminal.run("doit -f dod\t") == ["-f", "dodo.py"]


def asked(toy: ToyProject, word: str, *before: str) -> list[str]:
    """Returns what may replace a word, without the descriptions."""
    done = toy.doit("tabcompletion", f"--word={word}", "--", *before)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


def test_the_first_word_is_a_command_or_a_label(many: ToyProject) -> None:
    words = asked(many, "")
    assert {"check", "run", "net", "many", "many@a", "many@b", "vision/large"} <= set(words)
    assert len(words) == len(set(words))
    assert "check" not in asked(many, "", "plan")


def test_a_spec_with_variants_has_their_stages(many: ToyProject) -> None:
    assert asked(many, "many:ch") == ["many:check"]
    assert many.doit("plan", "many:check").returncode == 0


def test_stages_are_asked_for_without_reading_the_other_specs(many: ToyProject) -> None:
    (many.root / "specs/vision/large.json").write_text("{")
    assert asked(many, "net:ev") == ["net:evaluate"]


def test_a_project_that_cannot_be_loaded_still_has_commands(many: ToyProject) -> None:
    (many.root / "dodo.py").write_text("print('noise')\nraise RuntimeError\n")
    assert asked(many, "ex") == ["explain"]


def test_labels_behind_a_prefix_are_completed_beside_other_tasks(many: ToyProject) -> None:
    (many.root / "dodo.py").write_text(
        "from qatbuild.plugin import qatbuild_tasks\ntask_models = qatbuild_tasks('models')\n"
        "def task_flash():\n    return {'actions': None}\n"
    )
    assert asked(many, "fl") == ["flash"]
    assert asked(many, "models/many@") == ["models/many@a", "models/many@b"]
    assert asked(many, "models/many@a:fl") == ["models/many@a:float"]


def test_completion_imports_neither_tensors_nor_the_explanation_of_faults(many: ToyProject) -> None:
    many.built()
    for word in ("", "many@a:"):
        modules = imported("doit", "tabcompletion", f"--word={word}", cwd=many.root)
        assert not modules & {"tensorflow", "numpy", "jsonschema", "qatbuild.worker"}
