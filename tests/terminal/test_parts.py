"""The parts that show a build: lines of progress, the screen, and how long the rest takes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pyte
import pytest
from tqdm import tqdm

from qatbuild.engine.live.remaining import Planned, Remaining
from qatbuild.engine.live.screen import Screen, place_of_bar
from qatbuild.engine.plan import Stage
from qatbuild.engine.tail import Tail
from qatbuild.exchange.activity import Activity, Warned, read
from qatbuild.worker import console, typed_bar


class Tty(io.StringIO):
    """A stream that seems to be a terminal of the size in COLUMNS and LINES."""

    def isatty(self) -> bool:
        return True

    def shown(self, rows: int = 24, columns: int = 80) -> list[str]:
        screen = pyte.Screen(columns, rows)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        return [line.rstrip() for line in screen.display if line.strip()]


def terminal(monkeypatch: pytest.MonkeyPatch) -> Tty:
    """Makes stdout and stderr a terminal of 80 columns; called in a test, as pytest sets both before each."""
    stream = Tty()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return stream


def test_text_of_others_goes_above_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    tty = terminal(monkeypatch)
    with Screen() as screen:
        screen.draw(["first", "second"])
        sys.stdout.write("said on stdout\n")
        sys.stderr.write("said on stderr\n")
        assert tty.shown() == ["said on stdout", "said on stderr", "first", "second"]
        sys.stdout.write("a question? ")
        screen.draw(["first"])
        assert tty.shown()[-1] == "a question?"
        sys.stdout.write("yes\n")
        assert tty.shown()[-2:] == ["a question? yes", "first"]
    assert tty.shown() == ["said on stdout", "said on stderr", "a question? yes"]
    assert sys.stdout is tty


def test_a_low_terminal_shows_how_many_lines_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"stage {number}" for number in range(10)] + ["3 of 20 stages"]
    for rows, wanted in ((6, [*lines[:3], "... and 7 more", "3 of 20 stages"]), (2, ["3 of 20 stages"])):
        tty = terminal(monkeypatch)
        monkeypatch.setenv("LINES", str(rows))
        with Screen() as screen:
            screen.draw(lines)
            assert tty.shown(rows) == wanted


def test_a_bar_of_this_process_is_a_line_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    tty = terminal(monkeypatch)
    assert place_of_bar() == {}
    with Screen() as screen:
        with tqdm(total=4, desc="fetching", leave=False, **place_of_bar()) as bar:
            bar.update(2)
            bar.refresh()
            screen.draw(["whole"])
            assert tty.shown()[0].startswith("fetching:  50%")
            assert tty.shown()[1] == "whole"
        screen.draw(["whole"])
        assert tty.shown() == ["whole"]


def test_a_terminal_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tty = terminal(monkeypatch)
    with Screen() as screen:
        screen.draw(["first"])
        tty.close()
        screen.draw(["second"])


def test_a_bar_of_a_worker_writes_lines_that_the_build_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "console"
    file.touch()
    monkeypatch.setattr(typed_bar, "_EVERY_S", 0)
    with file.open("a") as opened:
        monkeypatch.setenv(console.FILENO_VARIABLE, str(opened.fileno()))
        monkeypatch.setenv(console.TYPED_VARIABLE, "1")
        with console.bar(total=4, initial=1, desc="float toynet", unit="step") as bar:
            bar.update()
            bar.set_postfix(loss="0.250", refresh=False)
            bar.update(2)
        console.warn("few data")
    lines = [read(line) for line in Tail(file).read().decode().splitlines()]
    assert lines[-1] == Warned("few data")
    first, last = lines[0], lines[-2]
    assert isinstance(first, Activity)
    assert isinstance(last, Activity)
    assert (first.title, first.unit, first.done, first.total, first.loss) == ("float toynet", "step", 1, 4, None)
    assert (last.done, last.loss) == (4, 0.25)


def test_progress_never_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "console"
    file.touch()
    monkeypatch.setattr(typed_bar, "_EVERY_S", 0)
    monkeypatch.setattr(typed_bar, "_MOST_BYTES", 1000)
    tail, last = Tail(file), ""
    with file.open("a") as opened:
        monkeypatch.setenv(console.FILENO_VARIABLE, str(opened.fileno()))
        monkeypatch.setenv(console.TYPED_VARIABLE, "1")
        with console.bar(total=100, unit="step") as bar:
            for _ in range(100):
                bar.update()
                bar.refresh()
                last = tail.read().decode() or last
                assert file.stat().st_size < 1300
    assert json.loads(last.splitlines()[-1])["done"] > 90


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        '{"title": "x"}',
        "[]",
        "7",
        '{"title": "", "unit": "", "done": Infinity, "total": 1, "elapsed_s": 0, "per_second": 1, "loss": 1}',
        '{"title": 1, "done": []}',
        "\x00",
    ],
)
def test_a_line_that_is_cut_off_is_left_out(line: str) -> None:
    assert read(line) is None


def stage(name: str, *inputs: str) -> Stage:
    return Stage(name, "net", {}, {each: f"net:{each}" for each in inputs}, {}, (), (), "", labels=("net",))


def test_the_rest_takes_what_the_records_say(tmp_path: Path) -> None:
    chain = [stage("dataset"), stage("float", "dataset"), stage("quantize", "float"), stage("export")]
    for each, seconds in zip(chain, (10, 100, 50, 7), strict=True):
        (tmp_path / f"{each.name}.run.json").write_text(json.dumps({"seconds": seconds}))
    remaining = Remaining([Planned(each, tmp_path) for each in chain])
    running: dict[str, float | None] = {"net:float": 40.0}
    assert remaining.left_s({"net:dataset"}, {"net:dataset"}, running) == 90  # The export is up to date.
    assert remaining.expected_s(chain[1]) == 100
    assert remaining.left_s({"net:dataset"}, set(), {"net:float": 40.0, "net:export": 3.0}) == (40 + 3 + 50) / 2
    assert remaining.left_s({"net:dataset"}, set(), {"net:float": None}) is None


def test_a_stage_without_a_record_takes_as_long_as_its_like_and_without_any_the_rest_is_unknown(tmp_path: Path) -> None:
    first, other = stage("float"), stage("float")._replace(home="other", labels=("other",))
    remaining = Remaining([Planned(first, tmp_path), Planned(other, tmp_path / "other")])
    assert remaining.left_s(set(), set(), {first.id: 5.0}) is None
    remaining.add(first, 30)
    assert remaining.left_s({first.id}, {first.id}, {}) == 30
