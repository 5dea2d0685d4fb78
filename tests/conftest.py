"""Settings of all tests: signals, processes, the files beside the repository, and no skips in CI.

Where the environment has CI=true, a skipped test fails the run. A test marked `shared(path)` reads ../shared/path; it
is not skipped but left out where that is absent, and a line at the end of the run says how many were.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from xdist.scheduler import LoadFileScheduling

# A process that a shell starts in the background ignores Ctrl-C, and so would all builds that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ON_ONE_BUILD = {f"tests/e2e/test_{name}.py" for name in ("deploy", "digits", "docs")}

OTHERS_ON_ONE_BUILD = ("tests/diagnosis/", "tests/pains/")
"""Folders whose files look at one build each, as well."""

IN_PARTS = "tests/properties/test_any_spec.py"
"""A long file whose tests share nothing: each goes to the next free process."""

SHARED = Path(__file__).resolve().parents[2] / "shared"
"""A folder beside the repository with data too large for it. CI has it, a user's clone has not."""

IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
UNAVAILABLE = pytest.StashKey[dict[str, int]]()
"""How many tests were left out, by the path below SHARED that they need."""


class Scheduling(LoadFileScheduling):
    """A file's tests share a process and its fixtures; so do the files that look at one build.

    Only IN_PARTS is divided.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        for folder in OTHERS_ON_ONE_BUILD:
            if file.startswith(folder):
                return folder
        return "digits" if file in ON_ONE_BUILD else nodeid if file == IN_PARTS else file


@pytest.fixture(autouse=True, scope="module")
def usual_kernels() -> None:
    """Lets each file begin without deterministic kernels, which need a seed: a session of a file before chose them."""
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config  # noqa: PLC0415  TensorFlow has no public way back.

        config.disable_op_determinism()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """All tests go side by side, two at a time; those that are asked for, in this process."""
    return 2 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    return Scheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shared(path): reads ../shared/path, and is left out where that is absent")
    config.stash[UNAVAILABLE] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests marked `shared(path)` whose path is absent."""
    absent = config.stash[UNAVAILABLE]
    for item in list(items):
        missing = [path for mark in item.iter_markers("shared") for path in mark.args if not (SHARED / path).exists()]
        if missing:
            items.remove(item)
            config.hook.pytest_deselected(items=[item])
            absent[missing[0]] = absent.get(missing[0], 0) + 1
    if hasattr(config, "workeroutput"):
        config.workeroutput["unavailable"] = absent


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over what a process of xdist left out: all of them collect the same tests."""
    node.config.stash[UNAVAILABLE].update(getattr(node, "workeroutput", {}).get("unavailable", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for path, number in sorted(config.stash[UNAVAILABLE].items()):
        terminalreporter.write_line(f"left out because ../shared/{path} is not on this machine: {number} test(s)")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return fail_if_skipped((yield))


def fail_if_skipped(report: Report) -> Report:
    """Turns a skipped test or file into a failed one in CI, where a skip would hide that something is unchecked."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and in CI nothing may be: {reason}"
    return report
