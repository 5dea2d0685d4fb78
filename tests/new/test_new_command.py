"""`doit new` at the command line and at a terminal: what it asks, writes, replaces and leaves alone."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from qatbuild.engine.new import beginning, writing
from qatbuild.engine.new.beginning import Wish, begin
from qatbuild.engine.new.document import Budget, _steps
from qatbuild.engine.project import Project
from qatbuild.exchange.errors import QatbuildError, StageError
from qatbuild.exchange.look import DataQuestion
from qatbuild.worker.look import data
from tests.e2e.conftest import TINY
from tests.hints import follows
from tests.new import people

REPOSITORY = Path(__file__).parents[2]

INTERRUPT = "\x03"
PATIENCE_S = 2


def doit(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "doit", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, input="")


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks in this process."""
    monkeypatch.setattr(beginning, "look_at", data.answer)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """A project without any file but the data."""
    people.arrays(tmp_path / "data")
    return tmp_path


def refused(root: Path, wish: Wish) -> QatbuildError:
    before = files(root)
    with pytest.raises(QatbuildError) as error:
        begin(Project.at(root), wish)
    assert files(root) == before
    return error.value


def test_in_a_folder_without_a_project_the_spec_gets_a_dodo_file_and_doit_lists_it(arrays: Path) -> None:
    missing = doit(arrays, "new", "bars")
    assert follows("doit new NAME --data PATH") in missing.stderr
    assert files(arrays) == ["data/data.npz"]
    done = doit(arrays, "new", "bars", "--data", "data/data.npz", "--steps", "9")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("specs/bars.json\n")
    assert done.stdout.endswith("Build it: doit bars\n")
    assert files(arrays) == ["data/data.npz", "dodo.py", "specs/bars.json"]
    assert "bars" in doit(arrays, "list").stdout
    below = doit(arrays / "data", "new", "below", "--data", "data.npz", "--steps", "9")
    assert below.returncode == 0, below.stderr
    (arrays / "specs/below.json").unlink()
    (arrays / "specs/bars.json").unlink()
    assert doit(arrays, "new", "bars", "--data", "data/data.npz", "--steps", "9").returncode == 0
    again = doit(arrays, "new", "bars", "--data", "data/data.npz", "--steps", "8")
    assert again.returncode == 3
    assert follows("choose another name, or replace it with --force") in again.stderr
    size = doit(arrays, "new", "bars", "--data", "data/data.npz", "--size", "big")
    assert follows("write 96, or 120x160") in size.stderr
    size = doit(arrays, "new", "other", "--data", "data/data.npz", "--size", "96")
    assert follows("leave --size out") in size.stderr
    replaced = doit(arrays, "new", "bars", "--data", "data/data.npz", "--steps", "8", "--force", "--json")
    assert json.loads(replaced.stdout)["document"]["train"]["steps"] == 8
    assert json.loads((arrays / "specs/bars.json").read_text())["train"]["steps"] == 8


def at_terminal(root: Path, answers: Sequence[str]) -> str:
    """Runs `doit new` at a terminal that types the answers, each after a question; what it shows.

    Python does not notice a Ctrl-C between its prompt and its read until a key is pressed, so that is typed again.
    """
    process, terminal = pty.fork()
    if process == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Tests in the background of a shell ignore it.
        os.chdir(root)
        os.execve(sys.executable, [sys.executable, "-m", "doit", "new"], {**os.environ, "PYTHONPATH": str(REPOSITORY)})
    shown, typed, waiting = "", "", list(answers)
    with contextlib.suppress(OSError):  # The terminal of a process that has ended.
        while True:
            if typed == INTERRUPT and not select.select([terminal], [], [], PATIENCE_S)[0]:
                os.write(terminal, typed.encode())
                continue
            if not (part := os.read(terminal, 4096)):
                break
            shown += part.decode(errors="replace")
            if waiting and shown.endswith(": "):
                typed = waiting.pop(0)
                os.write(terminal, typed.encode())
    os.waitpid(process, 0)
    os.close(terminal)
    return shown


def test_questions_that_are_interrupted_or_not_answered_leave_nothing(arrays: Path) -> None:
    assert "interrupted" in at_terminal(arrays, ["bars\n", INTERRUPT])
    assert "nothing was written" in at_terminal(arrays, ["bars\n", "\x04"])
    assert files(arrays) == ["data/data.npz"]


def test_questions_at_a_terminal_do_as_well_as_options(arrays: Path) -> None:
    (arrays / "net.keras").write_bytes(b"")
    keras_file(arrays / "net.keras", [None, 12, 12, 3])
    shown = at_terminal(arrays, ["bars\n", "data/data.npz\n", "net.keras\n", "\n"])
    assert "Build it: doit bars" in shown
    assert json.loads((arrays / "specs/bars.json").read_text())["model"]["keras"] == "../net.keras"


def keras_file(file: Path, shape: Sequence[int | None], *others: str) -> None:
    """A file with the description of a network, which is all that is read."""
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": shape}},
        *({"class_name": each} for each in others),
    ]
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": layers}}))


@pytest.mark.usefixtures("here")
def test_a_trained_network_says_the_size_of_pictures_and_whether_it_scales_them(tmp_path: Path) -> None:
    people.mixed_sizes(tmp_path / "pictures")
    net = tmp_path / "net.keras"
    wish = Wish("net", str(tmp_path / "pictures"), str(net))
    net.write_bytes(b"no network")
    assert follows("save the network again: model.save(FILE)") in refused(tmp_path, wish).hint
    keras_file(net, [None, 20, 24, 3], "Rescaling")
    spec = begin(Project.at(tmp_path), wish).document
    assert spec["dataset"]["size"] == [20, 24]
    assert (spec["input"]["mean"], spec["input"]["std_dev"]) == (0, 1)
    assert spec["quantize"]["method"] == "ptq"
    assert "train" not in spec
    keras_file(net, [None, 20, 24, 3])
    assert begin(Project.at(tmp_path), wish._replace(force=True)).document["input"]["std_dev"] == 255


@pytest.mark.usefixtures("here")
def test_without_labels_a_trained_network_is_only_calibrated(tmp_path: Path) -> None:
    people.one_class(tmp_path / "pictures")
    wish = Wish("net", str(tmp_path / "pictures"), labels=False)
    assert follows("Name one with --model") in refused(tmp_path, wish).hint
    keras_file(tmp_path / "net.keras", [None, 12, 12, 3])
    spec = begin(Project.at(tmp_path), wish._replace(network=str(tmp_path / "net.keras"))).document
    assert spec["dataset"]["labels"] is False
    assert set(spec["evaluate"]) == {"$comment", "min_agreement"}


@pytest.mark.usefixtures("here")
def test_networks_are_named_by_function_or_kind(arrays: Path) -> None:
    wish = Wish("net", str(arrays / "data/data.npz"), "lenett", steps=5)
    error = refused(arrays, wish)
    assert follows("Give a function as module:function") in error.hint
    assert ("Did you mean", "lenet") in error.facts
    assert begin(Project.at(arrays), wish._replace(network="lenet")).document["model"]["name"] == "lenet"
    outside = refused(arrays, wish._replace(name="own", network=f"{arrays.parent}/own.py:small"))
    assert outside.hint == follows("move it inside the project")
    (arrays / "own.py").write_text("")
    own = begin(Project.at(arrays), wish._replace(name="own", network=f"{arrays}/own.py:small"))
    assert own.document["model"]["call"] == "own:small"
    people.rows_of_numbers(arrays / "rows")
    rows = wish._replace(name="rows", data=str(arrays / "rows/data.npz"), network="")
    assert follows("For others write a function that returns a Keras model") in refused(arrays, rows).hint
    begin(Project.at(arrays), rows._replace(network="own:small"))


@pytest.mark.usefixtures("here")
def test_data_lie_in_the_project_under_a_name_that_a_spec_can_hold(tmp_path: Path) -> None:
    root, outside = tmp_path / "project", people.arrays(tmp_path / "elsewhere")
    root.mkdir()
    wish = Wish("net", str(outside), steps=5)
    assert follows("Move or link it into the project") in refused(root, wish).hint
    (root / "data.npz").symlink_to(outside)
    begin(Project.at(root), wish._replace(data=str(root / "data.npz")))
    odd = outside.rename(root / os.fsdecode(b"caf\xe9.npz"))
    assert refused(root, wish._replace(name="other", data=str(odd))).hint == follows("rename it, in UTF-8")
    begin(Project.at(root), wish._replace(name="other", data=str(odd.rename(root / "plain.npz"))))


@pytest.mark.usefixtures("here")
def test_in_a_project_of_many_folders_the_name_says_which(arrays: Path) -> None:
    (arrays / "pyproject.toml").write_text('[tool.qatbuild]\nspecs = ["*/specs"]\n')
    (arrays / "vision/specs").mkdir(parents=True)
    wish = Wish("net", str(arrays / "data/data.npz"), steps=5)
    assert follows("begin the name with ") in refused(arrays, wish).hint
    assert begin(Project.at(arrays), wish._replace(name="vision/net")).file == arrays / "vision/specs/net.json"


@pytest.mark.parametrize("name", ["check", "a b", "new", "../x"])
def test_a_name_that_no_spec_may_have_is_refused_before_the_data_are_looked_at(tmp_path: Path, name: str) -> None:
    assert "name cannot be used" in refused(tmp_path, Wish(name, "nowhere")).message


@pytest.mark.usefixtures("here")
def test_a_spec_that_would_have_faults_is_not_written(arrays: Path) -> None:
    error = refused(arrays, Wish("net", str(arrays / "data/data.npz"), "missing:small", steps=5))
    assert "the project has no module missing" in error.block()


@pytest.mark.usefixtures("here")
def test_an_interrupted_write_leaves_the_former_spec(arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = Wish("net", str(arrays / "data/data.npz"), steps=5)
    text = begin(Project.at(arrays), wish).file.read_text()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        begin(Project.at(arrays), wish._replace(steps=7, force=True))
    assert (arrays / "specs/net.json").read_text() == text
    assert [each.name for each in (arrays / "specs").iterdir()] == ["net.json"]


def test_steps_fit_into_the_minutes_and_are_no_more_than_a_hundred_passes(arrays: Path) -> None:
    look = data.answer(DataQuestion(str(arrays / "data/data.npz")))
    few, many = look._replace(counts={"train": 40, "test": 10}), look._replace(counts={"train": 50_000, "test": 10})
    assert _steps(few, Budget(10, 0.001))[0] == 500
    assert _steps(many, Budget(10, 0.001))[0] == 78_000
    steps, why = _steps(many, Budget(10, 0.1))
    assert steps == 3_700
    assert "about 10 minutes for both trainings, 4.7 passes over the data" in why
    assert _steps(many, Budget(10, 100.0))[0] == 50


@pytest.mark.usefixtures("here")
def test_a_step_is_measured_and_a_network_that_does_not_take_the_data_is_named(arrays: Path) -> None:
    wish = Wish("net", str(arrays / "data/data.npz"), "nets:small")
    (arrays / "nets.py").write_text("def small(images, classes, *, training):\n    return images[..., :2]\n")
    with pytest.raises(StageError, match="did not return logits"):
        begin(Project.at(arrays), wish)
    assert files(arrays) == ["data/data.npz", "nets.py"]


def test_a_look_that_fails_is_one_error(arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert "failed unexpectedly" in refused(arrays, Wish("net", str(arrays / "data/data.npz"))).message


@pytest.mark.usefixtures("here")
def test_many_pictures_are_sampled_and_the_spec_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qatbuild.worker.look.folders._MOST_HEADERS", 10)
    monkeypatch.setattr("qatbuild.worker.look.folders.MOST_DECODED", 5)
    monkeypatch.setattr("qatbuild.worker.look.remarks.MOST_DECODED", 5)
    people.folders(tmp_path / "pictures", {"cats": 20, "dogs": 20})
    spec = begin(Project.at(tmp_path), Wish("net", str(tmp_path / "pictures"), steps=5)).document
    assert "mean and deviation are those of 5 of 40 examples" in str(spec["$comment"]).lower()
    assert spec["dataset"]["color"] == "rgb"
    assert spec["dataset"]["size"] == [12, 12]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from qatbuild.engine.new import writing
from qatbuild.engine.project import Project

real, calls = getattr(writing, sys.argv[1]), []

def killed(*arguments, **options):
    calls.append(arguments)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)

setattr(writing, sys.argv[1], killed)
root = Path.cwd()
writing.write(Project.at(root), "net", root / "specs/net.json", json.loads(sys.argv[3]), force=True)
"""
"""Writes a spec, and is killed at the nth call of a function."""


@pytest.mark.parametrize(("function", "call"), [("load", "1"), ("put", "1"), ("put", "2")])
@pytest.mark.usefixtures("here")
def test_what_a_killed_command_leaves_is_no_spec_and_is_removed_by_the_next_one(
    arrays: Path, function: str, call: str
) -> None:
    document = {"model": {"name": "digitsnet"}, "input": {"mean": 0, "std_dev": 255}, "train": TINY}
    (arrays / "specs").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, function, call, json.dumps(document)], cwd=arrays, env=environment, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert Project.at(arrays).files() == []
    assert any(name.startswith(("specs/.", ".doit-new")) for name in files(arrays))
    running = arrays / f"specs/.doit-new-{os.getpid()}-other.json"
    running.write_text("{")
    begin(Project.at(arrays), Wish("net", str(arrays / "data/data.npz"), steps=5))
    running.unlink()
    assert files(arrays) == ["data/data.npz", "dodo.py", "specs/net.json"]
