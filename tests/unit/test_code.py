"""The digest of a stage's code."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qatbuild.engine.code_digest import Code, source_fingerprint


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a network in net.py that imports layers.py inside a function."""
    (tmp_path / "net.py").write_text(
        '"""Doc."""\n\ndef build(x):\n    """Doc."""\n    from layers import conv\n    return conv(x)\n'
    )
    (tmp_path / "layers.py").write_text("def conv(x):\n    return x + 1\n")
    (tmp_path / "other.py").write_text("y = 1\n")
    return tmp_path


@pytest.fixture
def switching() -> Iterator[None]:
    """Lets another thread run in the middle of everything that allocates."""

    def switch(_phase: str, _about: dict[str, int]) -> None:
        Path().stat()  # The lock of the interpreter is free meanwhile.

    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(switch)
    gc.set_threshold(50)
    sys.setswitchinterval(1e-6)
    yield
    gc.callbacks.remove(switch)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval_s)


def digest(project: Path) -> str:
    return Code(project).digest(["net"])


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("net.py", "def build(x):  # a comment\n    from layers import (\n        conv)\n    return conv(x)\n", False),
        ("net.py", "def build(x):\n    from layers import conv\n    return conv(x) + 1\n", True),
        ("layers.py", "def conv(x):\n    return x + 2\n", True),
        ("layers.py", 'def conv(x):\n    "A docstring."\n    return (x + 1)\n', False),
        ("other.py", "y = 2\n", False),
    ],
)
def test_digest_follows_meaning_and_imports(project: Path, file: str, text: str, changes: bool) -> None:
    before = digest(project)
    (project / file).write_text(text)
    assert (digest(project) != before) is changes


def test_code_that_does_not_parse_has_a_digest(project: Path) -> None:
    before = digest(project)
    (project / "net.py").write_text("def build(")
    assert digest(project) != before


def test_file_cache_gives_the_same_digest(project: Path, tmp_path: Path) -> None:
    code = Code.load(project, tmp_path / "memory.db")
    first = code.digest(["net"])
    code.cache.save()
    assert Code.load(project, tmp_path / "memory.db").digest(["net"]) == first


def closure(module: str) -> set[str]:
    return {name for name, _, _ in Code(Path()).closure([module])}


def test_a_network_is_code_of_its_own_training_only() -> None:
    stage = closure("qatbuild.worker.stages.float")
    assert "qatbuild.worker.models.layers" in closure("qatbuild.worker.models.cifarnet")
    assert (
        not {"qatbuild.worker.models.cifarnet", "qatbuild.worker.models.lenet", "qatbuild.worker.tflite.convert"}
        & stage
    )


def test_float_training_does_not_depend_on_how_networks_are_quantized() -> None:
    assert not {name for name in closure("qatbuild.worker.stages.float") if name.startswith("qatbuild.quantize")}


def test_absent_paths_are_those_that_could_hold_a_module(project: Path) -> None:
    (project / "net.py").write_text("import numpy.linalg\nfrom layers import conv\nfrom space.inner import value\n")
    (project / "space").mkdir()
    code = Code(project)
    code.digest(["net"])
    looked = {path.removeprefix(f"{project}/"): there for path, there in code.looked.items()}
    absent = {path for path, there in looked.items() if not there}
    assert {"numpy", "numpy.py", "layers", "space/inner.py", "space/inner/__init__.py"} <= absent
    assert not {path for path in absent if path.startswith(("numpy/", "layers/"))}


@pytest.mark.parametrize(
    "file", ["numpy.py", "numpy/__init__.py", "numpy/linalg.py", "space/inner.py", "layers/__init__.py"]
)
def test_a_missing_module_changes_the_digest_once_it_exists(project: Path, file: str) -> None:
    (project / "net.py").write_text("import numpy.linalg\nfrom layers import conv\nfrom space.inner import value\n")
    (project / "space").mkdir()
    code = Code(project)
    before = code.digest(["net"])
    absent = [Path(path) for path, there in code.looked.items() if not there]
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_text("value = 5\n")
    assert any(path.exists() for path in absent)  # Which is how a build with nothing to do notices.
    assert digest(project) != before


@pytest.mark.usefixtures("switching")
def test_threads_of_a_worker_digest_side_by_side() -> None:
    """Python 3.11 counts the depth of the trees of all threads together, and raises SystemError."""
    sources = [file.read_bytes() for file in sorted((Path(__file__).parents[2] / "qatbuild/engine").glob("*.py"))]
    with ThreadPoolExecutor(4) as threads:
        side_by_side = list(threads.map(source_fingerprint, sources * 2))
    assert side_by_side == list(map(source_fingerprint, sources)) * 2
