"""Without a terminal a build says the same in plain lines; with nothing to do, it pays for none of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

from qatbuild.engine.live.words import Running, Totals, duration, live_line, plain_line, total_line
from qatbuild.exchange.activity import Activity
from tests.builds.conftest import REPOSITORY
from tests.terminal.conftest import DODO, Talking, step
from tests.terminal.screen import Terminal

AT_ONCE = "from qatbuild.engine.live import monitor\nmonitor._LINE_EVERY_S = 0\n"

SLOW = ("tqdm", "qatbuild.engine.live.screen", "qatbuild.engine.live.words", "qatbuild.engine.live.remaining")


def test_into_a_log_a_stage_says_how_far_it_is(talking: Talking) -> None:
    (talking.root / "dodo.py").write_text(DODO + AT_ONCE)
    talking.says("float", step(80))
    talking.hold("float")
    process = talking.started()
    assert process.stderr is not None
    line = next(line for line in process.stderr if "80 of 200" in line)
    assert line == "   net:float: 80 of 200 steps, 40 steps/s, 3 s left, loss 0.25\n"
    assert re.fullmatch(r"   2 of 8 stages\n", next(process.stderr))
    talking.release("float")
    out, _ = process.communicate()
    assert ".  net:float: not built yet\n" in out
    assert process.returncode == 0


def test_before_another_program_nothing_is_drawn(talking: Talking) -> None:
    talking.says("float", step(80))
    with Terminal("/bin/sh", "-c", f"{sys.executable} -m doit | cat", cwd=talking.root) as terminal:
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.raw
        assert "8 built in" in terminal.lines[-1]


def test_a_stream_that_goes_elsewhere_gets_whole_lines_and_the_terminal_no_block(talking: Talking) -> None:
    (talking.root / "dodo.py").write_text(DODO + AT_ONCE)
    talking.says("float", {"warning": "few data"}, step(80))
    talking.hold("float")
    with Terminal("/bin/sh", "-c", f"{sys.executable} -m doit > out", cwd=talking.root) as terminal:
        terminal.until(lambda text: "net:float: 80 of 200 steps" in text)
        talking.release("float")
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.raw
    assert "8 built in" in (talking.root / "out").read_text()
    with Terminal("/bin/sh", "-c", f"{sys.executable} -m doit -a 2> err", cwd=talking.root) as terminal:
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.raw
        assert "8 built in" in terminal.text
    assert "warning: few data\n" in (talking.root / "err").read_text()


def test_a_build_with_nothing_to_do_imports_none_of_it(talking: Talking) -> None:
    talking.built()
    program = f"""
import sys
from doit.doit_cmd import DoitMain
assert DoitMain().run([]) == 0
assert not set(sys.modules).intersection({SLOW}), set(sys.modules).intersection({SLOW})
"""
    command, environment = [sys.executable, "-c", program], {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=talking.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 up to date in ")


def test_the_closing_table_says_what_was_built_and_where_the_time_went(talking: Talking) -> None:
    talking.built()
    talking.spec("other", quantize={"steps": 7})
    (talking.root / "broken.txt").write_text("evaluate fail")
    said = talking.doit("-c", "-a").stdout
    table = said[said.index("\nstage ") :].splitlines()[1:]
    assert table[0].split() == ["stage", "built", "failed", "s", "%", "longest"]
    names = [line.split()[0] for line in table[1:-1]]
    assert sorted(names) == sorted(["dataset", "check", "float", "quantize", "export", "freeze", "convert", "evaluate"])
    evaluate = next(line for line in table if line.startswith("evaluate"))
    assert evaluate.split()[1] == "2"
    assert re.match(r"\d+ built, 2 failed in \d+\.\d s", table[-1])


def test_a_stage_restored_is_in_a_column_of_its_own(talking: Talking) -> None:
    (talking.root / "pyproject.toml").write_text('[tool.qatbuild]\nstore = "store"\n')
    talking.built()
    shutil.rmtree(talking.root / "build")
    said = talking.doit().stdout
    assert re.search(r"^stage +restored +s", said, re.MULTILINE)
    assert re.search(r"^8 restored in", said, re.MULTILINE)


def test_lines_fit_any_width() -> None:
    activity = Activity("float toynet", "step", 80, 200, 2.0, 40.0, 0.25)
    for columns in (1, 5, 20, 59, 60, 79, 200):
        for each in (None, activity, activity._replace(total=None), activity._replace(unit="B", done=1 << 30)):
            assert len(live_line(Running("folder/net@int8_per_channel:float", 3.0, None, each), columns)) <= columns


def test_a_line_names_the_part_of_a_stage_unless_it_is_the_stage() -> None:
    part = Activity("train image", "picture", 5, 10, 1.0, 1234.5)
    line = plain_line(Running("net:dataset", 1.0, None, part))
    assert line == "net:dataset train image: 5 of 10 pictures, 1,234 pictures/s, 1 s left"
    assert plain_line(Running("net:float", 65.0)) == "net:float: running for 1 min"
    unknown = Activity("data.zip", "B", 5_000_000)
    assert plain_line(Running("net:dataset", 1.0, None, unknown)) == "net:dataset data.zip: 5,000,000 bytes"


def test_a_stage_without_progress_shows_the_time_left_by_its_record() -> None:
    assert live_line(Running("net:convert", 5.0, 65.0), 80) == "net:convert [00:05<01:00]"


def test_the_line_of_the_whole_build() -> None:
    assert total_line(Totals(37, 112, 12, 0, 840)) == "37 of 112 stages, 12 restored, about 14 min left"
    assert total_line(Totals(0, 8, 0, 1, None)) == "0 of 8 stages, 1 failed"
    assert [duration(each) for each in (0, 59.4, 60, 3599, 7800)] == ["1 s", "59 s", "1 min", "1 h 0 min", "2 h 10 min"]
