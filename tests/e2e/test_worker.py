"""The process boundary: one server, a process for each request, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qatbuild.engine.execute.local import LocalExecutor
from qatbuild.exchange.errors import DatasetError, StageError
from qatbuild.exchange.files import remove
from qatbuild.exchange.request import Request, Source
from tests.hints import follows


def request(folder: Path, name: str, *, images: int = 20) -> Request:
    """A dataset stage on a tiny npz; without images, on a file of text."""
    data = folder / f"{name}.npz"
    if images:
        pixels, labels = np.zeros((images, 2, 2, 1), np.uint8), np.arange(images) % 2
        np.savez(data, train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    else:
        data.write_text("no arrays")
    settings = {"dataset": {"name": "npz", "url": None, "sha256": None, "validation": 0.1}}
    return Request(
        stage="dataset",
        settings=settings,
        inputs={},
        sources={"data": Source(data, "")},
        toolchain={},
        code="",
        threads=1,
        downloads=folder / "downloads",
        project=folder,
        folder=folder / name,
        work=folder / "work" / name,
    )


@pytest.fixture(scope="module")
def executor() -> LocalExecutor:
    """One server for all tests, as in a build."""
    return LocalExecutor()


def servers() -> set[int]:
    """Processes of worker servers that this process started."""
    processes = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "qatbuild.worker.server"], capture_output=True, text=True, check=False
    )
    return {int(word) for word in processes.stdout.split()}


def test_requests_of_several_threads_are_answered_each_with_its_own_result(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    requests = [request(tmp_path, f"n{count}", images=count) for count in (20, 30, 40)]
    threads = [threading.Thread(target=executor.run, args=(item,)) for item in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for item, count in zip(requests, (20, 30, 40), strict=True):
        assert len(np.load(item.out / "test" / "images.npy")) == count


def test_expected_error_keeps_its_type(executor: LocalExecutor, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"broken\.npz"):
        executor.run(request(tmp_path, "broken", images=0))
    assert "broken.npz" in (tmp_path / "broken/log.txt").read_text()


def test_stage_that_does_not_exist_is_a_crash_with_its_log(executor: LocalExecutor, tmp_path: Path) -> None:
    wrong = request(tmp_path, "wrong")
    bad = replace(wrong, stage="nothing")
    with pytest.raises(StageError, match="failed unexpectedly") as caught:
        executor.run(bad)
    assert "ModuleNotFoundError" in caught.value.block()


def test_exit_in_the_projects_code_is_an_error_with_its_line(executor: LocalExecutor, tmp_path: Path) -> None:
    code = "import sys\n\ndef arrays():\n    {}\n    return {{}}\n"
    item = request(tmp_path, "leaving")
    dataset = {**item.settings["dataset"], "name": "call", "call": "leaving:arrays", "options": {}}
    item = replace(item, settings={"dataset": dataset}, sources={})
    for status in ("", "0", "3"):
        (tmp_path / "leaving.py").write_text(code.format(f"sys.exit({status})"))
        with pytest.raises(StageError, match="ended the process of a stage") as caught:
            executor.run(item)
        assert dict(caught.value.facts)["at"] == f"leaving.py:4: sys.exit({status})"
        assert caught.value.hint.startswith(follows("Return from the function, or raise an exception"))
        assert "leaving.py:4" in (item.folder / "log.txt").read_text()
    (tmp_path / "leaving.py").write_text(code.format("raise ValueError('no data')"))
    with pytest.raises(DatasetError, match="no data"):
        executor.run(item)


def test_other_things_in_a_stage_s_work_folder_make_way(executor: LocalExecutor, tmp_path: Path) -> None:
    item = request(tmp_path, "net")
    intruders: list[Callable[[Path], object]] = [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path.name)]
    places = [item.work / name for name in ("request.json", "error.json", "reserve", "out", "dataset.manifest.json")]
    places += [item.folder / name for name in ("log.txt", "dataset.run.json")]
    for intruder in intruders:
        for place in places:
            place.parent.mkdir(parents=True, exist_ok=True)
            remove(place)
            intruder(place)
        executor.run(item)
        assert (item.out / "test" / "images.npy").is_file()
        assert "== dataset" in (item.folder / "log.txt").read_text()


@pytest.mark.parametrize("intruder", [Path.touch, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_other_thing_in_the_place_of_a_stage_s_folder_is_named(
    executor: LocalExecutor, tmp_path: Path, intruder: Callable[[Path], object]
) -> None:
    for place in ("work", "net"):
        item = replace(request(tmp_path, "net"), folder=tmp_path / "net" / "a", work=tmp_path / "work" / "a")
        intruder(tmp_path / place)
        with pytest.raises((StageError, OSError), match=f"(?m){tmp_path / place}'?$") as caught:
            executor.run(item)
        assert not isinstance(caught.value, StageError) or "hint:" in caught.value.block()
        for name in ("work", "net"):
            remove(tmp_path / name)


def test_server_dies_silently_with_a_build_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text(request(tmp_path, "net", images=0).to_json())
    (tmp_path / "work" / "net").mkdir(parents=True)
    without_tensorflow = "from qatbuild.worker import server; server._preload = lambda: None; server.serve()"
    command = [sys.executable, "-c", without_tensorflow]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stderr is not None
        server.stdout.close()  # as after a SIGKILL, before stdin is seen to be closed
        server.stdin.write(f"{path}\n")
        server.stdin.flush()
        assert server.stderr.read() == ""
    assert server.returncode == 0


def test_server_that_imports_ends_with_its_build(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text(request(tmp_path, "net", images=0).to_json())
    (tmp_path / "work" / "net").mkdir(parents=True)
    imports_for_ever = "lambda: (os.write(2, b'importing'), [sleep(0.01) for _ in itertools.repeat(0)])"
    code = (
        "import itertools, os; from time import sleep; from qatbuild.worker import server; "
        f"server._preload = {imports_for_ever}; server.serve()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stderr is not None
        server.stdin.write(f"{path}\n")
        server.stdin.flush()
        assert server.stderr.read(len("importing")) == "importing"
        server.terminate()
        assert server.communicate() == ("", "")
    assert server.returncode == 0


def test_stage_that_native_code_aborts_is_one_block_with_its_signal_and_place(tmp_path: Path) -> None:
    (tmp_path / "sklearn.py").write_text(
        "import os\nprint('RoundingDivideByPOT: exponent <= 31', flush=True)\nos.abort()\n"
    )
    settings = {"dataset": {"name": "digits", "url": None, "sha256": None, "validation": 0.1}}
    with pytest.raises(StageError) as caught:
        LocalExecutor().run(replace(request(tmp_path, "digits"), settings=settings, sources={}))
    block = caught.value.block()
    assert block.startswith("The stage dataset was killed by SIGABRT.\n")
    assert "RoundingDivideByPOT: exponent <= 31" in block
    assert "sklearn.py" in block.partition("called by")[2].splitlines()[0]
    assert "Extension modules" not in block
    assert "hint: native code" in block


def test_next_request_is_served_after_the_server_was_killed(tmp_path: Path) -> None:
    others, executor = servers(), LocalExecutor()
    executor.run(request(tmp_path, "first"))
    (server,) = servers() - others
    os.kill(server, signal.SIGKILL)
    second = request(tmp_path, "second")
    with contextlib.suppress(StageError):  # It may still reach the server that is dying: an error then, not a hang.
        executor.run(second)
    executor.run(second)
    assert (second.out / "test" / "images.npy").is_file()
