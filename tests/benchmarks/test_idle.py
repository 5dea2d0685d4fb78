"""What a sweep's log says: who was idle while work existed, and what was built twice."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.idle import built_twice, idle_seconds, runs, work_seconds


def log(*rows: tuple[str, float, int, str, list[str]]) -> list[str]:
    return [
        json.dumps([what, time_s, worker, "stage", key, manifests]) for what, time_s, worker, key, manifests in rows
    ]


CHAIN = log(
    ("begin", 0, 1, "a", []),
    ("end", 2, 1, "a", ["of a"]),
    ("begin", 3, 1, "b", ["of a"]),
    ("end", 5, 1, "b", ["of b"]),
)


def test_a_worker_is_idle_from_the_end_of_what_a_stage_needs_until_it_begins() -> None:
    assert idle_seconds(runs(CHAIN)) == [1.0]
    assert work_seconds(runs(CHAIN)) == 4.0


def test_a_pause_in_which_nothing_could_begin_is_not_idle() -> None:
    later = log(("begin", 0, 2, "c", []), ("end", 9, 2, "c", ["of c"]), ("begin", 9.5, 1, "d", ["of c"]))
    assert idle_seconds(runs([*CHAIN, *later])) == pytest.approx([1.0, 0.5])


def test_a_worker_that_arrived_is_idle_until_its_first_stage() -> None:
    late = log(("begin", 4, 2, "c", ["of a"]), ("end", 9, 2, "c", ["of c"]))
    assert idle_seconds(runs([*CHAIN, *late]), {1: -5, 2: 2.5}) == pytest.approx([0.0, 1.0, 1.5])


def test_a_training_waits_for_the_check_whose_result_it_does_not_read() -> None:
    rows = [
        ["begin", 0, 1, "dataset", "a", []], ["end", 2, 1, "dataset", "a", ["of a"]],
        ["begin", 2, 2, "check", "b", ["of a"]], ["end", 4, 2, "check", "b", ["of b"]],
        ["begin", 5, 1, "float", "c", ["of a"]],
    ]  # fmt: skip
    assert idle_seconds(runs(map(json.dumps, rows))) == [1.0]


def test_a_key_that_ended_twice_was_built_twice_unless_its_result_was_lost_with_a_killed_worker() -> None:
    again = runs([*CHAIN, *log(("begin", 6, 2, "b", ["of a"]), ("end", 8, 2, "b", ["of b"]))])
    assert built_twice(again) == ["b"]
    assert built_twice(again, killed=[1]) == []
    assert built_twice(runs(CHAIN)) == []


def test_a_stage_that_was_cut_off_is_no_work_and_a_torn_line_is_left_out() -> None:
    cut = runs([*CHAIN, *log(("begin", 6, 2, "e", ["of b"])), '["begin", 7'])
    assert work_seconds(cut) == 4.0
    assert cut[-1].end_s is None
