"""On a terminal a build has a line for each running stage and one for all, and leaves none of them behind."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator

from tests.builds.test_remedies_of_toys import refuse_all
from tests.terminal.conftest import Talking, step
from tests.terminal.screen import Terminal

TOTAL = re.compile(r"^\d+ of \d+ stages", re.MULTILINE)


def live(text: str) -> list[str]:
    """The lines of the block on a screen."""
    return [line for line in text.splitlines() if TOTAL.match(line) or re.search(r"\[\d\d:\d\d|%\|| \d+%$", line)]


def _says(wanted: str) -> Callable[[str], bool]:
    return lambda text: wanted in text


def draws(*wanted: str) -> Callable[[str], bool]:
    """Whether a screen shows these and the whole block below: a terminal passes on what is written line by line."""
    return lambda text: all(each in text for each in wanted) and bool(TOTAL.match(text.splitlines()[-1]))


def test_stages_side_by_side_have_a_line_each_and_the_build_one(talking: Talking) -> None:
    talking.spec("other", train={"steps": 100, "learning_rate": {"initial": 0.2}})
    talking.says("float", step(80))
    talking.hold("float")
    with talking.terminal("-n", "2") as terminal:
        text = terminal.until(draws("other:float:  40%", "net:float:  40%"))
        figures = r"80/200 \[00:02<00:03, 40.00 steps/s, loss=0.25\]"
        assert re.search(rf"^net:float:  40%\|.*\| {figures}$", text, re.MULTILINE)
        assert "First build here: 14 stages of net, other." in text.splitlines()[0]
        talking.release("float")
        assert terminal.end() == 0
        assert live(terminal.text) == []
        assert re.match(r"14 built in \d+\.\d s", terminal.lines[-1])
        assert re.search(r"^float +2 ", terminal.text, re.MULTILINE)


def test_a_window_that_becomes_narrow_and_wide_again_shows_each_line_once(talking: Talking) -> None:
    talking.says("float", step(80))
    talking.hold("float")
    with talking.terminal(columns=90) as terminal:
        terminal.until(lambda text: "net:float:  40%" in text)
        terminal.resize(30)
        text = terminal.until(lambda text: text.splitlines()[-2] == "net:float 40%")
        assert len(live(text)) == 2, text
        assert ".  net:float: not built yet" in text
        terminal.resize(120)
        text = terminal.until(draws("net:float:  40%|"))
        assert len(live(text)) == 2, text
        talking.release("float")
        assert terminal.end() == 0
        assert live(terminal.text) == []
        assert terminal.text.count("net:float: not built yet") == 1


def test_a_failure_is_one_block_while_another_stage_goes_on(talking: Talking) -> None:
    talking.spec("other", train={"steps": 100, "learning_rate": {"initial": 0.2}})
    (talking.root / "broken.txt").write_text("export fail")
    talking.says("float", step(80))
    talking.hold("float")
    with talking.terminal("-n", "2") as terminal:
        terminal.until(_says("net:export FAILED"))
        text = terminal.until(lambda text: "net:float:  40%" in text and " failed" in text.splitlines()[-1])
        block = text[text.index("net:export FAILED") :].splitlines()
        assert [line.strip() for line in block[1:4]] == [
            "The toy export fails.",
            "asked by  broken.txt",
            "hint: remove broken.txt",
        ]
        assert b"\x1b[1;31mnet:export FAILED" in terminal.raw
        talking.release("float")
        assert terminal.end() == 1
        assert live(terminal.text) == []


def test_ctrl_c_leaves_one_line(talking: Talking) -> None:
    talking.hold("float")
    for arguments in ((), ("-n", "2")):
        with talking.terminal(*arguments) as terminal:
            terminal.until(lambda text: "net:float [" in text)
            terminal.press(b"\x03")
            assert terminal.end() == 130
            assert live(terminal.text) == []
            assert "^C" not in terminal.text
            assert terminal.lines[-1] == "interrupted; run doit again to go on"
            assert sum("interrupted" in line for line in terminal.lines) == 1


def test_a_build_without_doit_shows_the_same(talking: Talking) -> None:
    talking.says("float", step(80))
    talking.hold("float")
    program = """
import sys
from collections.abc import Callable
from collections.abc import Callable
from pathlib import Path
from qatbuild.engine.build import build
from qatbuild.engine.project import Project
from tests.terminal.talking import TalkingExecutor

build(Project.prepared(Path.cwd()), executor=TalkingExecutor(), say=sys.stdout.write)
"""
    with Terminal(sys.executable, "-c", program, cwd=talking.root) as terminal:
        text = terminal.until(draws("net:float:  40%"))
        assert ".  net:float: not built yet" in text
        talking.release("float")
        assert terminal.end() == 0
        assert live(terminal.text) == []
        assert re.match(r"8 built in \d+\.\d s", terminal.lines[-1])


def test_a_warning_stays_above_the_live_lines(talking: Talking) -> None:
    talking.says("float", {"warning": "float: the data have one class"}, step(80))
    talking.hold("float")
    with talking.terminal() as terminal:
        text = terminal.until(draws("net:float:  40%"))
        assert text.splitlines().index("warning: float: the data have one class") < len(text.splitlines()) - 2
        talking.release("float")
        assert terminal.end() == 0
        assert terminal.text.count("warning: float: the data have one class") == 1


def test_no_color_is_honoured(talking: Talking) -> None:
    (talking.root / "broken.txt").write_text("check fail")
    with talking.terminal(environment={"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == 1
        assert "net:check FAILED" in terminal.text
        assert b"\x1b[1;31m" not in terminal.raw


def test_on_a_ci_server_and_a_dumb_terminal_lines_are_plain(talking: Talking) -> None:
    talking.says("float", step(80))
    for environment in ({"CI": "true"}, {"TERM": "dumb"}):
        with talking.terminal("-a", environment=environment) as terminal:
            assert terminal.end() == 0
            assert b"\x1b" not in terminal.raw
            assert ":evaluate" in terminal.text or "report.html" in terminal.text


@contextlib.contextmanager
def started_in_a_shell(talking: Talking) -> Iterator[Terminal]:
    """A shell in which a build has come to the middle of the stage float, which is held."""
    talking.says("float", step(80))
    talking.hold("float")
    with Terminal("/bin/bash", "--norc", "-i", cwd=talking.root, environment={"PS1": "$ "}) as terminal:
        terminal.press(f"{sys.executable} -m doit\n".encode())
        terminal.until(draws("net:float:  40%"))
        yield terminal


def test_ctrl_z_removes_the_block_and_fg_draws_it_below_what_the_shell_said(talking: Talking) -> None:
    with started_in_a_shell(talking) as terminal:
        terminal.press(b"\x1a")
        text = terminal.until(lambda text: "Stopped" in text and text.endswith("$"))
        assert live(text) == []
        terminal.press(b"bg\n")
        text = terminal.until(lambda text: text.splitlines()[-1] == "$")
        said, stages = len(terminal.raw), ("quantize", "convert")
        for stage, following in zip(("float", *stages), stages, strict=False):
            talking.says(following, step(20, title=f"{following} toynet"))
            talking.hold(following)
            talking.release(stage)
            text = terminal.until(_says(f"net:{following}: not built yet"))
        assert b" of 8 stages" not in terminal.raw[said:]  # In the background the terminal is the shell's.
        terminal.press(b"fg\n")
        text = terminal.until(draws("net:convert:  10%"))
        assert len(live(text)) == 2, text
        assert "Stopped" in text
        talking.release("convert")
        terminal.until(lambda text: "8 built in" in text)
        assert live(terminal.text) == []


def test_what_the_shell_says_of_a_build_that_was_stopped_without_warning_stays(talking: Talking) -> None:
    with started_in_a_shell(talking) as terminal:
        terminal.stop()
        stopped = terminal.until(lambda text: "Stopped" in text and text.endswith("$"))
        talking.says("quantize", step(20, title="quantize toynet"))
        talking.hold("quantize")
        talking.release("float")
        terminal.press(b"bg\n")
        terminal.until(_says("net:quantize: not built yet"))
        terminal.press(b"fg\n")
        terminal.until(draws("net:quantize:  10%"))
        talking.release("quantize")
        text = terminal.until(_says("8 built in"))
        assert text.startswith(stopped)
        assert text.count("[1]+") == 2  # What `bg` said, too.
        assert len(live(text)) == len(live(stopped))


def test_fg_draws_the_block_of_a_build_that_was_stopped_without_warning_below_what_the_shell_said(
    talking: Talking,
) -> None:
    with started_in_a_shell(talking) as terminal:
        terminal.stop()
        stopped = terminal.until(lambda text: "Stopped" in text and text.endswith("$"))
        terminal.press(b"fg\n")
        text = terminal.until(lambda text: len(live(text)) == 2 * len(live(stopped)))
        assert text.startswith(stopped)
        talking.release("float")
        terminal.until(_says("8 built in"))
        assert live(terminal.text) == live(stopped)


def test_each_trial_of_doit_cure_has_live_lines(talking: Talking) -> None:
    refuse_all(talking)
    talking.doit()
    talking.says("quantize", step(20, title="quantize toynet"))
    talking.hold("quantize")
    with talking.terminal("cure", "net", "--budget", "1") as terminal:
        text = terminal.until(draws(":quantize:  10%"))
        assert re.match(r"cure/net@\w+:quantize:  10%\|", live(text)[0])
        assert re.match(r"\d of 8 stages", live(text)[1])
        assert "net is refused: " in text
        talking.release("quantize")
        assert terminal.end() == 1
        assert live(terminal.text) == []
        assert re.search(r"^1\. .*min_top1", terminal.text, re.MULTILINE)


def test_a_window_of_twenty_columns_shows_how_far_each_stage_is(talking: Talking) -> None:
    talking.says("float", step(80))
    talking.hold("float")
    with talking.terminal(columns=20, rows=12) as terminal:
        text = terminal.until(lambda text: "net:float 40%" in text and TOTAL.search(text))
        assert text.splitlines()[-2:] == ["net:float 40%", "2 of 8 stages"]
        terminal.resize(12, rows=12)
        terminal.until(lambda text: text.splitlines()[-2:] == ["net:flo 40%", "2 of 8 stag"])
        talking.release("float")
        assert terminal.end() == 0
        assert "8 built in" in terminal.text
