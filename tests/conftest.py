"""What every test starts from, and which tests run in one process."""

from __future__ import annotations

import signal

import pytest
from xdist.scheduler import LoadFileScheduling

# Whoever starts the tests in the background of a shell makes them, and all builds that they start, deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

ON_ONE_BUILD = {f"tests/e2e/test_{name}.py" for name in ("deploy", "digits", "docs")}


class Scheduling(LoadFileScheduling):
    """A file's tests share a process and its fixtures; so do the files that look at the one build of the digits."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "digits" if file in ON_ONE_BUILD else file


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """All tests go side by side, two at a time; those that are asked for, in this process."""
    return 2 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    return Scheduling(config, log)
