"""The record's tables give the same counts and answers as a look at every spec."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from qatbuild.engine.up_to_date_record import STAGE, Record, Recorded

LONG_AGO = 1 << 62
"""A time after which nothing was looked at: every state is believed."""


def groups(number: int, generation: int = 0) -> list[str]:
    """The dependencies of a spec: its file, a stage that all have, one that two have, and two of its own."""
    own = [f"{STAGE}v{number}.{generation}:{name}" for name in ("convert", "evaluate")]
    return [f"file specs/v{number}.json", f"{STAGE}shared:dataset", f"{STAGE}shared:float-{number // 2}", *own]


def enter(record: Record, folder: Path, number: int, generation: int = 0) -> None:
    names = groups(number, generation)
    for name in names:
        path = folder / name.replace("/", "_").replace(" ", "_").replace(":", "_")
        if not path.exists():  # A touch is a change.
            path.touch()
        record.put(name, [str(path)], LONG_AGO)
    record.enter(f"v{number}", names, Recorded("", {f"v{number}": [f"route{number}"]}))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The record of eight specs."""
    record = Record("here")
    for number in range(8):
        enter(record, tmp_path, number)
    record.save(tmp_path / "record", [f"v{number}" for number in range(9)])
    return tmp_path / "record"


def loaded(path: Path) -> Record:
    record = Record.load(path, "here")
    assert record is not None
    return record


def stages(specs: set[int], generation: int = 0) -> set[str]:
    return {name for number in specs for name in groups(number, generation) if name.startswith(STAGE)}


def test_record_is_read_as_it_was_written(saved: Path) -> None:
    record = loaded(saved)
    assert record.differing() == set()
    assert record.specs == [f"v{number}" for number in range(8)]
    assert (record.others, record.count) == (["v8"], len(stages({*range(8)})))
    assert record.routes(["v3", "v5"]) == {"v3": ["route3"], "v5": ["route5"]}
    assert Record.load(saved, "elsewhere") is None


@pytest.mark.parametrize("seed", range(20))
def test_shared_stages_are_counted_once(saved: Path, seed: int) -> None:
    chance = random.Random(seed)
    wanted = {number for number in range(8) if chance.random() < 0.6}
    besides = {name.removeprefix(STAGE) for name in stages({number for number in range(8) if chance.random() < 0.3})}
    counted = loaded(saved).count_stages([f"v{number}" for number in wanted], [*besides, "unknown:stage"])
    assert counted == len(stages(wanted) - {f"{STAGE}{id_}" for id_ in besides})


def test_a_changed_file_affects_exactly_the_specs_that_depend_on_it(saved: Path) -> None:
    (saved.parent / "stage_shared_float-1").write_text("edited")
    record = loaded(saved)
    assert record.differing() == {f"{STAGE}shared:float-1"}
    assert record.resting(record.differing()) == {"v2", "v3"}
    assert record.resting([]) == record.resting(["no such group"]) == set()


def test_an_edited_spec_leaves_nothing_of_its_former_stages_behind(saved: Path) -> None:
    for generation in range(1, 4):
        record = loaded(saved)
        record.leave(["v4"])
        enter(record, saved.parent, 4, generation)
        record.save(saved, record.specs)
        again = loaded(saved)
        assert again.differing() == set()
        assert again.count == len(stages({*range(8)} - {4}) | stages({4}, generation))
        assert again.count_stages(again.specs) == again.count
        assert sorted(again.specs) == [f"v{number}" for number in range(8)]


def test_a_record_without_specs_is_valid(tmp_path: Path) -> None:
    record = Record("here")
    record.save(tmp_path / "record", [])
    again = loaded(tmp_path / "record")
    assert (again.specs, again.count, again.differing()) == ([], 0, set())
    assert again.count_stages([]) == 0
