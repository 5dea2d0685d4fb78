"""specs/mlperf/fetch.py brings the files that the specs beside it name, from a server or from a folder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import SHARED
from tests.datasets.conftest import Server

MLPERF = Path(__file__).parents[2] / "specs/mlperf"
NETS = {"one/trained_models/net.h5": b"first", "two/trained_models/saved/variables/variables.index": b"second"}
TARGETS = {"net.h5": b"first", "saved/variables/variables.index": b"second"}


@pytest.fixture
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mlperf_fetch", MLPERF / "fetch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def served(program: ModuleType, server: Server, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program with two files, which a server of this machine has."""
    monkeypatch.setattr(program, "_URL", f"{server.url}/training")
    monkeypatch.setattr(program, "FILES", {path: hashlib.sha256(data).hexdigest() for path, data in NETS.items()})
    server.files |= {f"/training/{path}": data for path, data in NETS.items()}
    return program


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_files_are_downloaded_once(served: ModuleType, server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        assert served.main(["--into", str(tmp_path)]) == 0
        assert contents(tmp_path) == TARGETS
    assert [path for path, _ in server.asked] == [f"/training/{path}" for path in NETS]


def test_a_file_of_another_content_is_replaced(served: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "net.h5").write_bytes(b"damaged")
    assert served.main(["--into", str(tmp_path)]) == 0
    assert contents(tmp_path) == TARGETS


def test_files_are_taken_from_a_folder_under_any_names(served: ModuleType, server: Server, tmp_path: Path) -> None:
    (tmp_path / "here/deep").mkdir(parents=True)
    for name, data in (("a", b"second"), ("deep/b", b"first"), ("c", b"other")):
        (tmp_path / "here" / name).write_bytes(data)
    assert served.main(["--from", str(tmp_path / "here"), "--into", str(tmp_path / "models")]) == 0
    assert contents(tmp_path / "models") == TARGETS
    assert not server.asked


@pytest.mark.parametrize("answer", [None, b"a page that says sorry"])
def test_a_file_that_cannot_be_had_is_one_error_with_a_way_out(
    served: ModuleType, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: bytes | None
) -> None:
    path = "/training/one/trained_models/net.h5"
    server.files = {path: answer} if answer else {}
    assert served.main(["--into", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert f"{server.url}{path}" in printed.err
    assert "hint: Fetch the files by other means, and take them from their folder with --from" in printed.err
    assert "Traceback" not in printed.err
    assert (printed.out, {*contents(tmp_path)} & {*TARGETS}) == ("", set())
    assert served.main(["--from", str(tmp_path / "nowhere"), "--into", str(tmp_path)]) == 1
    assert capsys.readouterr().err.endswith(
        f"nowhere has no file with the content of {path.removeprefix('/training/')}.\n"
    )


def test_each_spec_names_a_file_that_is_fetched(program: ModuleType) -> None:
    targets = {Path("models") / path.partition("/trained_models/")[2] for path in program.FILES}
    models = [json.loads(path.read_text())["model"] for path in sorted(MLPERF.glob("*.json"))]
    named = [Path(model.get("keras") or f"{model['saved_model']}/saved_model.pb") for model in models]
    assert len(named) == 5
    assert set(named) <= targets


@pytest.mark.shared("models")
def test_the_digests_are_those_of_the_published_files(program: ModuleType) -> None:
    files = [path for path in (SHARED / "models").rglob("*") if path.is_file()]
    assert set(program.FILES.values()) <= {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
