"""The states of files, half of which a forked process reads."""

from __future__ import annotations

import gc
import os
import signal
import threading
from array import array
from pathlib import Path

import pytest

from qatbuild.engine import file_states


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Files whose states are read by two processes."""
    monkeypatch.setattr(file_states, "_FORK_FROM", 2)
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # pytest-xdist has threads of its own.
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for number in range(8):
        (tmp_path / str(number)).write_text(str(number))
    return [os.fsencode(tmp_path / str(number)) for number in range(8)]


def one_process(files: list[bytes], monkeypatch: pytest.MonkeyPatch) -> array[int]:
    with monkeypatch.context() as patch:
        patch.setattr(file_states, "_FORK_FROM", len(files) + 1)
        return file_states.states(files)


def open_descriptors() -> int:
    gc.collect()  # Files that tests before this one have left to it.
    return len(list(Path("/proc/self/fd").iterdir()))


def test_states_read_by_two_processes_are_those_of_one_where_the_system_reaps_children(
    files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    former = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert file_states.states(files) == one_process(files, monkeypatch)
    finally:
        signal.signal(signal.SIGCHLD, former)


def test_states_are_complete_if_no_process_can_be_forked(files: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    refused = []

    def refuse() -> int:
        refused.append("fork")
        raise BlockingIOError

    before = open_descriptors()
    monkeypatch.setattr(os, "fork", refuse)
    assert file_states.states(files) == one_process(files, monkeypatch)
    assert refused
    assert open_descriptors() == before


def test_process_whose_parent_has_died_ends_early(files: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    states = one_process(files, monkeypatch)
    own = array("q", states[: len(states) // 2])
    monkeypatch.setattr(os, "getppid", lambda: 1)
    middle = len(files) // 2
    assert file_states._with_fork(files[:middle], files[middle:], array("q")) == (own, None)  # noqa: SLF001
    assert file_states.states(files) == states


def test_ctrl_c_is_blocked_for_the_forked_process_alone(files: list[bytes]) -> None:
    file_states.states(files)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
