"""Specs in a large repository: beside other tasks, in any folder, built from any folder, among other projects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.architecture.test_contracts import imported
from tests.builds.conftest import SPEC, ToyProject
from tests.hints import follows

DODO = """
from qatbuild.plugin import qatbuild_tasks
from tests.builds.toolchain import ToyExecutor

task_models = qatbuild_tasks("models", executor=ToyExecutor())

def task_hello():
    return {"actions": ["echo hello >> said.txt"]}

def task_ship():
    return {"actions": ["echo shipped >> said.txt"], "task_dep": ["models/net:convert"]}
"""


@pytest.fixture
def guest(toy: ToyProject) -> ToyProject:
    """A project with tasks of its own, and specs under the prefix `models`."""
    (toy.root / "dodo.py").write_text(DODO)
    return toy


def said(toy: ToyProject) -> list[str]:
    path = toy.root / "said.txt"
    lines = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_specs_are_built_under_their_prefix_only_when_they_are_named(guest: ToyProject) -> None:
    assert guest.built("hello") == []
    assert guest.built("models/net:float") == ["dataset", "check", "float"]
    assert "convert" in guest.built("models")
    assert (guest.root / "build/net/model.tflite").is_file()
    assert guest.built("models/net") == []


def test_plain_doit_runs_the_other_tasks_only(guest: ToyProject) -> None:
    (guest.root / "dodo.py").write_text(DODO.partition("def task_ship")[0])
    assert guest.built() == []
    assert said(guest) == ["hello"]


def test_another_task_may_wait_for_a_stage(guest: ToyProject) -> None:
    assert "convert" in guest.built("ship")
    assert said(guest) == ["shipped"]


def test_doit_s_own_reporter_says_why_a_stage_runs(guest: ToyProject) -> None:
    guest.built("models")
    guest.spec("net", evaluate={"min_top1": 50})
    assert ".  models/net:evaluate: evaluate.min_top1: null -> 50" in guest.doit("models").stdout


def test_commands_take_and_print_names_with_the_prefix(guest: ToyProject) -> None:
    assert guest.doit("explain", "models/net:dataset").stdout.startswith("models/net:dataset  run")
    assert json.loads(guest.doit("check", "models", "--json").stdout)["labels"] == ["models/net"]
    assert "models/net:evaluate: not built yet" in guest.doit("plan").stdout
    assert guest.doit("status", "models").stdout.startswith("not built: models/net\n")
    assert json.loads(guest.doit("metrics", "models/net", "--json").stdout)["labels"][0]["label"] == "models/net"
    assert "hint: doit models/net" in guest.doit("report", "models/net").stderr


def test_a_spec_with_faults_leaves_other_tasks_alone(guest: ToyProject) -> None:
    guest.spec("bad", trian={})
    assert guest.built("hello") == []
    assert guest.doit("models/bad").returncode == 1


def test_a_prefix_that_makes_no_name_is_one_error(guest: ToyProject) -> None:
    (guest.root / "dodo.py").write_text(DODO.replace('"models"', '"a=b"'))
    done = guest.doit("hello")
    assert done.returncode == 3
    assert "a prefix has letters" in done.stderr
    assert "Traceback" not in done.stderr


def test_several_projects_in_one_dodo_differ_by_their_prefixes(guest: ToyProject) -> None:
    audio = ToyProject(guest.root / "audio")
    audio.spec("kws", dataset={"name": "cifar10", "path": "data.bin"})
    (audio.root / "specs/data.bin").write_text("sounds")
    (guest.root / "dodo.py").write_text(f'{DODO}\ntask_audio = qatbuild_tasks("audio", "audio", ToyExecutor())\n')
    assert guest.built("audio") == []  # the stages note themselves in their own project
    assert "convert" in audio.runs()
    assert guest.doit("explain", "audio/kws").stdout == "8 up to date\n"
    done = guest.doit("explain")
    assert done.returncode == 3
    assert "(models, audio)" in done.stderr or "(audio, models)" in done.stderr


def documents(toy: ToyProject, *files: str) -> None:
    for file in files:
        (toy.root / file).parent.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {**SPEC, "dataset": {"name": "cifar10", "path": "data.bin"}}
        (toy.root / file).write_text(json.dumps(document))
        (toy.root / file).with_name("data.bin").write_text("pixels")


def settings(toy: ToyProject, specs: str) -> None:
    (toy.root / "pyproject.toml").write_text(f"[tool.qatbuild]\nstore = false\nspecs = {specs}\n")


def test_specs_of_many_folders_have_labels_by_folder(toy: ToyProject) -> None:
    documents(toy, "vision/specs/deep.json", "audio/models/kws.json", "vision/package.json", "vision/specs/_base.json")
    settings(toy, '["specs", "*/specs", "audio/models"]')
    assert json.loads(toy.doit("check", "--json").stdout)["labels"] == ["audio/models/kws", "net", "vision/deep"]
    assert "convert" in toy.built("vision/deep:convert")
    assert (toy.root / "build/vision/deep/model.tflite").is_file()


@pytest.mark.parametrize(
    ("specs", "text"),
    [
        ('["specs", "*/specs"]', "Two specs have the same label"),
        ('["../elsewhere"]', "must be a folder below the project"),
        ("7", "must be a str or list"),
        ('["nowhere"]', "The project has no specs"),
    ],
)
def test_impossible_spec_folders_are_one_error(toy: ToyProject, specs: str, text: str) -> None:
    documents(toy, "a/specs/same.json", "specs/a/same.json")
    settings(toy, specs)
    done = toy.doit("list")
    assert done.returncode == 3
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    if follows("rename one of the files") in done.stderr:
        (toy.root / "a/specs/same.json").rename(toy.root / "a/specs/other.json")
        assert toy.doit("list").returncode == 0


def test_doit_works_from_a_folder_below(toy: ToyProject) -> None:
    below = ToyProject(toy.root / "specs/deep/deeper")
    below.root.mkdir(parents=True)
    assert below.doit("net:dataset").returncode == 0
    assert toy.runs() == ["dataset"]
    assert "net" in below.doit("list").stdout
    assert below.doit("clean", "net").returncode == 0
    assert below.doit("info", "net:dataset").returncode in (0, 1)


@pytest.mark.parametrize("arguments", [(), ("list",), ("check",), ("explain",), ("run", "-f", "dodo.py")])
def test_dodo_py_without_specs_runs_as_without_qatbuild(toy: ToyProject, arguments: tuple[str, ...]) -> None:
    (toy.root / "dodo.py").write_text("print('run')\ndef task_check():\n    return {'actions': ['touch said.txt']}\n")
    below = ToyProject(toy.root / "specs/deep")
    below.root.mkdir()
    done = below.doit(*arguments)
    assert done.returncode == 3
    assert "Could not find dodo file" in done.stderr
    assert "run" not in done.stdout
    assert below.doit(arguments[0] if arguments else "run", "-k").returncode == (3 if "explain" in arguments else 0)


@pytest.mark.parametrize(
    ("arguments", "near"),
    [(("net:flot",), "net:float"), (("explian",), "explain"), (("list", "nett"), "net")],
)
def test_a_mistyped_name_is_answered_with_the_nearest(toy: ToyProject, arguments: tuple[str, ...], near: str) -> None:
    done = toy.doit(*arguments)
    assert done.returncode == 3
    assert f"Did you mean {near}?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_project_without_qatbuild_keeps_its_tasks_called_like_a_command(toy: ToyProject) -> None:
    (toy.root / "dodo.py").write_text("def task_check():\n    return {'actions': ['echo checked > said.txt']}\n")
    for arguments in ((), ("run", "check"), ("check",)):
        assert toy.doit(*arguments).returncode == 0
        assert said(toy) == ["checked"]
    assert "check" in toy.doit("list").stdout


OWN = (
    "def task_{name}():\n    return {{'actions': ['echo own >> said.txt']}}\n",
    "def task_other():\n    yield {{'basename': '{name}', 'actions': ['echo own >> said.txt']}}\n",
    "own = lambda: {{'basename': '{name}', 'actions': ['echo own >> said.txt']}}\nown.create_doit_tasks = own\n",
)
"""Three ways in which a dodo.py defines a task."""


@pytest.mark.parametrize("own", OWN, ids=["function", "basename", "object"])
def test_a_dodo_s_own_task_is_never_shadowed_by_a_command(guest: ToyProject, own: str) -> None:
    for name in ("check", "plan", "graph", "explain", "affected", "gc", "layers", "why", "audit"):
        (guest.root / "dodo.py").write_text(DODO + own.format(name=name))
        assert guest.built(name) == []
        assert said(guest) == ["own"], name


def test_a_command_beside_a_task_with_its_name_is_reached_by_the_module(guest: ToyProject) -> None:
    (guest.root / "dodo.py").write_text(DODO + OWN[0].format(name="check"))
    done = guest.module("check", "models", "--json")
    assert json.loads(done.stdout)["labels"] == ["models/net"]
    assert guest.doit("plan", "models/net").returncode == 0
    assert said(guest) == []


def test_a_task_called_like_a_command_takes_options_and_builds_what_it_waits_for(guest: ToyProject) -> None:
    parameters = "[{'name': 'json', 'long': 'json', 'type': bool, 'default': False}]"
    task = f"{{'actions': ['echo %(json)s >> said.txt'], 'params': {parameters}, 'task_dep': ['models/net:float']}}"
    (guest.root / "dodo.py").write_text(f"{DODO}\ndef task_check():\n    return {task}\n")
    assert guest.built("check", "--json", "hello") == ["dataset", "check", "float"]
    assert sorted(said(guest)) == ["True", "hello"]
    assert guest.built("-f", str(guest.root / "dodo.py"), "check") == []
    assert said(guest) == ["False"]


def test_a_prefix_called_like_a_command_is_a_task(guest: ToyProject) -> None:
    (guest.root / "dodo.py").write_text(DODO.replace('"models"', '"check"').partition("def task_ship")[0])
    assert "convert" in guest.built("check")


def test_doit_s_other_commands_know_tasks_called_like_a_command(guest: ToyProject) -> None:
    hello = "def task_hello():\n    'Greets.'\n    return {'actions': ['true']}\n"
    (guest.root / "dodo.py").write_text(OWN[0].format(name="check") + hello)
    assert guest.doit("tabcompletion", "--hardcode-tasks").returncode == 0
    assert guest.doit("help", "hello").stdout == "hello  Greets.\n"
    assert guest.doit("help", "check").stdout == "check  \n"
    (guest.root / "dodo.py").write_text("a dodo.py that is no Python")
    assert "validate the specs" in guest.doit("help", "check").stdout


def test_specs_whose_names_make_no_label_leave_a_prefix_and_other_tasks_alone(guest: ToyProject) -> None:
    for name in ("a b", "list", "a=b"):
        guest.spec(name)
    assert guest.built("hello") == []
    done = guest.doit("models")
    assert done.returncode == 1
    assert "evaluate" in guest.runs()
    assert "cannot be named" in done.stdout


def test_unchanged_specs_in_many_folders_are_not_read_and_new_folders_are_seen(toy: ToyProject) -> None:
    (toy.root / "pyproject.toml").write_text("[tool.qatbuild]\nstore = false\nspecs = ['*/specs', 'audio/*/nets']\n")
    (toy.root / "vision/specs").mkdir(parents=True)
    (toy.root / "specs/data.bin").rename(toy.root / "vision/specs/data.bin")
    (toy.root / "specs/net.json").rename(toy.root / "vision/specs/net.json")
    toy.built()
    toy.built()
    assert not {"jsonschema", "qatbuild.engine.plan", "sqlite3"} & imported("doit", cwd=toy.root)
    (toy.root / "audio/words/nets").mkdir(parents=True)
    document = {**SPEC, "dataset": {"name": "cifar10", "path": "../../../vision/specs/data.bin"}}
    (toy.root / "audio/words/nets/words.json").write_text(json.dumps(document))
    assert {"export", "evaluate"} <= set(toy.built())
    assert (toy.root / "build/audio/words/nets/words/report.json").is_file()
    (toy.root / "vision/specs/net.json").write_text(json.dumps({**SPEC, "evaluate": {"min_top1": 5}}))
    assert toy.built() == ["evaluate"]
    (toy.root / "audio/words/nets/words.json").rename(toy.root / "vision/specs/words.json")
    assert toy.doit("audio/words/nets/words").returncode == 3
