"""The rule of tests/conftest.py: in CI a skipped test fails the run; tests that read ../shared are left out instead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

SKIPPING = {
    "call": "def test_it():\n    pytest.skip('no tool')\n",
    "fixture": "@pytest.fixture\ndef tool():\n    pytest.skip('no tool')\n\ndef test_it(tool):\n    pass\n",
    "mark": "@pytest.mark.skipif(True, reason='no tool')\ndef test_it():\n    pass\n",
    "import": "def test_it():\n    pytest.importorskip('no_tool_of_this_name')\n",
    "teardown": "@pytest.fixture\ndef tool():\n    yield\n    pytest.skip('no tool')\n\ndef test_it(tool):\n    pass\n",
    "module": "pytest.skip('no tool', allow_module_level=True)\n",
}

processes = pytest.mark.parametrize("processes", ["0", "2"])


def run_tests(folder: Path, code: str, *, ci: str, processes: str) -> subprocess.CompletedProcess[str]:
    """The tests of `code` in a pytest of their own, with the repository's conftest."""
    file = folder / "test_tiny.py"
    file.write_text(f"import pytest\n\n{code}\ndef test_other():\n    pass\n")
    program = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", processes]
    environment = {**os.environ, "CI": ci}
    return subprocess.run(
        [*program, "-ra", file], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", SKIPPING)
def test_skipped_test_fails_in_ci_and_is_named(kind: str, tmp_path: Path) -> None:
    done = run_tests(tmp_path, SKIPPING[kind], ci="true", processes="0")
    assert done.returncode != 0
    name = "test_tiny.py" if kind == "module" else "test_tiny.py::test_it"
    assert f"{name} was skipped, and in CI nothing may be: " in done.stdout
    assert "no tool" in done.stdout.replace("_", " ")
    assert " skipped" not in done.stdout.splitlines()[-1]


def test_skipped_test_fails_also_in_a_process_of_xdist(tmp_path: Path) -> None:
    done = run_tests(tmp_path, SKIPPING["call"], ci="true", processes="2")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "test_tiny.py::test_it was skipped, and in CI nothing may be: " in done.stdout


@pytest.mark.parametrize("ci", ["", "false", "0"])
def test_elsewhere_a_skipped_test_is_skipped(ci: str, tmp_path: Path) -> None:
    done = run_tests(tmp_path, SKIPPING["mark"], ci=ci, processes="0")
    assert done.returncode == 0
    assert "1 passed, 1 skipped" in done.stdout


def test_expected_failure_is_no_skip(tmp_path: Path) -> None:
    done = run_tests(tmp_path, "def test_it():\n    pytest.xfail('not yet')\n", ci="true", processes="0")
    assert done.returncode == 0
    assert "1 passed, 1 xfailed" in done.stdout


@processes
def test_tests_of_an_absent_shared_file_are_left_out_with_a_line(processes: str, tmp_path: Path) -> None:
    code = "@pytest.mark.shared('no-such-folder')\ndef test_it():\n    raise AssertionError\n"
    done = run_tests(tmp_path, code, ci="true", processes=processes)
    assert done.returncode == 0
    assert "left out because ../shared/no-such-folder is not on this machine: 1 test(s)" in done.stdout
    assert "1 passed" in done.stdout
    assert "skipped" not in done.stdout
