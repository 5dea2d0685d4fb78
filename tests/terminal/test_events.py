"""`doit run --events FILE`: one JSON object a line, whole even when the build is killed, and never in its way."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from qatbuild.engine.live.events import Events
from tests.builds.conftest import REPOSITORY
from tests.hints import follows
from tests.terminal.conftest import Talking, step

PAGE = REPOSITORY / "qatbuild/docs/commands.md"


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_build_is_its_events(talking: Talking) -> None:
    (talking.root / "broken.txt").write_text("quantize fail")
    talking.says("float", {"warning": "few data"}, step(80))
    done = talking.doit("--events", "events.jsonl")
    assert done.returncode == 1
    events = rows(talking.root / "events.jsonl")
    names = [f"{row['event']} {row.get('stage', '')}".strip() for row in events]
    assert names[0] == "build_started"
    assert events[0]["labels"] == ["net"]
    assert events[0]["stages"] == 8
    middle = names[names.index("stage_started net:float") : names.index("stage_ended net:float")]
    assert "warning net:float" in middle
    ended = {str(row["stage"]): row for row in events if row["event"] == "stage_ended"}
    assert ended["net:float"]["fate"] == "built"
    assert ended["net:quantize"]["fate"] == "failed"
    assert "The toy quantize fails." in str(ended["net:quantize"]["error"])
    assert names[-1] == "build_ended"
    assert events[-1]["ok"] is False
    kinds = {str(row["event"]) for row in events} | {"progress"}
    assert all(f"`{kind}`" in PAGE.read_text() for kind in kinds)


def test_a_build_with_nothing_to_do_has_two_events(talking: Talking) -> None:
    talking.built()
    talking.built()  # Only now are all files older than the tick of the file system.
    talking.built("--events", "events.jsonl")
    started, ended = rows(talking.root / "events.jsonl")
    assert (started["event"], started["stages"]) == ("build_started", 0)
    assert (ended["event"], ended["ok"]) == ("build_ended", True)


def test_a_spec_with_faults_is_no_good_build(talking: Talking) -> None:
    (talking.root / "specs/bad.json").write_text("{")
    assert talking.doit("--events", "events.jsonl").returncode == 1
    assert rows(talking.root / "events.jsonl")[-1]["ok"] is False


def test_a_killed_build_leaves_whole_lines(talking: Talking) -> None:
    (talking.root / "broken.txt").write_text("float crash")
    assert talking.doit("--events", "events.jsonl").returncode == 137
    assert rows(talking.root / "events.jsonl")[-1]["stage"] == "net:float"


def test_a_reader_of_a_fifo_follows_a_build(talking: Talking) -> None:
    fifo = talking.root / "events"
    os.mkfifo(fifo)
    talking.says("float", step(80))
    talking.hold("float")
    process = talking.started("--events", str(fifo))
    with fifo.open() as events:
        progress = next(row for row in map(json.loads, events) if row["event"] == "progress")
        assert (progress["stage"], progress["done"], progress["left_s"]) == ("net:float", 80, 3.0)
        talking.release("float")
        assert json.loads([*events][-1])["event"] == "build_ended"
    assert process.communicate()[1] == ""
    assert process.returncode == 0


def test_neither_a_fifo_without_reader_nor_a_full_disk_ends_a_build(talking: Talking) -> None:
    os.mkfifo(talking.root / "events")
    assert talking.doit("--events", "events").returncode == 0
    done = talking.doit("-a", "--events", "/dev/full")
    assert done.returncode == 0
    assert done.stderr.strip() == "Events of this build are missing: [Errno 28] No space left on device"


def test_a_file_that_cannot_be_written_ends_the_command_before_the_build(talking: Talking) -> None:
    done = talking.doit("--events", "missing/events.jsonl")
    assert done.returncode == 3
    assert follows("needs a file in an existing folder that can be written, or a FIFO") in done.stderr
    assert "missing/events.jsonl" in done.stderr
    assert talking.runs() == []
    (talking.root / "missing").mkdir()
    talking.built("--events", "missing/events.jsonl")


def test_a_slow_reader_loses_progress_and_no_other_event(tmp_path: Path) -> None:
    fifo = tmp_path / "events"
    os.mkfifo(fifo)
    events = Events(fifo)
    for number in range(2000):
        events.add("progress", number=number, text="x" * 100)
    events.add("stage_ended", stage="net:float")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    text = os.read(reader, 1 << 20)
    events.add("build_ended")
    text += os.read(reader, 1 << 20)
    assert events.close() is None
    text += os.read(reader, 1 << 20)
    os.close(reader)
    kinds = [json.loads(line)["event"] for line in text.splitlines()]
    assert kinds[-2:] == ["stage_ended", "build_ended"]
    assert 100 < kinds.count("progress") < 2000


def test_a_disk_that_fills_leaves_no_line_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, write = Events(tmp_path / "events"), os.write
    events.add("build_started")
    monkeypatch.setattr(os, "write", lambda number, text: write(number, text[:5]))
    events.add("stage_started")
    monkeypatch.undo()
    events.add("build_ended", number=float("nan"))
    assert str(events.close()) == "[Errno 28] No space left on device"
    assert [row["event"] for row in rows(tmp_path / "events")] == ["build_started"]
