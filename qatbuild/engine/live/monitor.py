"""Watches a build: which stages run, how far they are, what has become of the others. It shows that, and writes events.

A build with nothing to do shows nothing: the screen, its thread and tqdm come with the first stage that runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from qatbuild.engine.outcome import Fate, Outcome, failure_text, is_judged, start_line
from qatbuild.exchange.files import make_folder

if TYPE_CHECKING:
    from qatbuild.engine.live.events import Events
    from qatbuild.engine.live.remaining import Planned, Remaining
    from qatbuild.engine.live.screen import Screen
    from qatbuild.engine.live.words import Running, Totals
    from qatbuild.engine.plan import Stage
    from qatbuild.engine.reason import Reason
    from qatbuild.engine.tail import Tail
    from qatbuild.exchange.activity import Activity
    from qatbuild.exchange.request import Request

_DRAW_EVERY_S = 0.1
_LINE_EVERY_S = 10.0
"""Seconds between two plain lines about a stage, in a log."""

_EVENT_EVERY_S = 1.0
"""Seconds between two events about the progress of a stage."""

_LEFT_EVERY_S = 1.0
"""Seconds between two estimates of the rest, which look at every stage."""

_NAMED = 3

_RED, _PLAIN = "\x1b[1;31m", "\x1b[0m"

_GOOD = frozenset({Fate.BUILT, Fate.RESTORED, Fate.UP_TO_DATE})

Say = Callable[[str], object]
"""Writes a text for people."""


@dataclass
class _Run:
    """A stage that runs."""

    stage: Stage
    began_s: float
    restorable: bool = False
    tail: Tail | None = None
    activity: Activity | None = None
    noted: Activity | None = None
    """The last activity of which an event was written."""


class Monitor:
    """The monitor of one build. Stages may run in several threads; their beginning and end come from one."""

    def __init__(self, events: Path | None = None) -> None:
        """Watches a build that has not begun. ArtifactError if the file of events cannot be written."""
        self.began_s = time.monotonic()
        self._lock = threading.RLock()
        self._runs: dict[str, _Run] = {}
        self._stages: Iterable[tuple[Stage, Path]] | None = None
        self._seconds: dict[str, float] = {}
        """Stage id -> how long it ran, of those that were not announced."""
        self._fates: dict[str, Fate] = {}
        self._remaining: Remaining | None = None
        self._left_s: float | None = None
        self.has_failed = False
        """Whether something else than a stage failed, such as a spec with faults."""
        self._screen: Screen | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._events: Events | None = None
        if events is not None:
            from qatbuild.engine.live.events import Events  # noqa: PLC0415  Only if they are wanted.

            self._events = Events(events)

    def plan(self, stages: Iterable[tuple[Stage, Path]]) -> None:
        """Takes the stages of the build with their folders, inputs first; it is read when the first one runs."""
        self._stages = stages
        if self._events is not None:
            self._tell("build_started", stages=len(self._planned), labels=self._labels())

    @cached_property
    def _planned(self) -> list[Planned]:
        from qatbuild.engine.live.remaining import Planned  # noqa: PLC0415

        return [Planned(*row) for row in self._stages or ()]

    def _labels(self) -> list[str]:
        """Returns the labels that are built: a stage that they share has others, too."""
        stages = [stage for stage, _ in self._planned]
        labels = dict.fromkeys(stage.labels[0] for stage in stages if stage.home in stage.labels or is_judged(stage))
        return [*labels] or [stage.labels[0] for stage in stages[-1:]]

    def started(self, stage: Stage, reasons: Sequence[Reason], *, restorable: bool, say: Say) -> None:
        """Announces a stage."""
        self._begin(None if restorable else say)
        with self._lock:
            self._runs[stage.id] = _Run(stage, time.monotonic(), restorable)
        self._tell(
            "stage_started",
            stage=_name(stage),
            labels=[*stage.labels],
            restorable=restorable,
            reasons=[reason.text for reason in reasons],
        )
        self.write(start_line(stage, reasons, restorable=restorable), say)

    @contextlib.contextmanager
    def running(self, stage: Stage, request: Request) -> Iterator[None]:
        """Hears what a request says of its progress while it runs, also that of a stage which was not announced.

        Without a plan the build has another reporter, doit's, and nothing is shown.
        """
        if self._stages is None:
            yield
            return
        from qatbuild.engine.tail import Tail  # noqa: PLC0415  Only if a stage runs.

        with contextlib.suppress(OSError):  # The stage itself reports a folder that cannot be written.
            _make_empty(request.console)
        self._begin(None)
        with self._lock:
            is_announced = stage.id in self._runs
            run = self._runs.setdefault(stage.id, _Run(stage, time.monotonic()))
            run.tail = Tail(request.console)
        try:
            yield
        finally:
            with self._lock:
                self._hear(run)
                run.tail = None
                with contextlib.suppress(OSError):  # The folder is used again, if it is empty.
                    os.unlink(request.console)  # noqa: PTH108
                if not is_announced:
                    del self._runs[stage.id]
                    self._seconds[stage.id] = time.monotonic() - run.began_s

    def ended(self, stage: Stage, fate: Fate, error: str = "") -> Outcome:
        """Takes the end of a stage, and returns its outcome with the seconds it took."""
        with self._lock:
            run = self._runs.pop(stage.id, None)
            ran_s = self._seconds.pop(stage.id, 0.0)
            seconds = ran_s if run is None else time.monotonic() - run.began_s
            self._fates[stage.id] = fate
            if self._remaining is not None and fate is Fate.BUILT:
                self._remaining.add(stage, seconds)
        self._tell("stage_ended", stage=_name(stage), fate=str(fate), seconds=seconds, error=error)
        return Outcome(stage, fate, error, seconds)

    def write(self, text: str, say: Say) -> None:
        """Has `say` write text that stays, above the live lines."""
        if self._screen is None:
            say(text)
        else:
            self._screen.write(text, say)

    def fail(self, name: str, error: str, say: Say) -> None:
        """Has `say` write the block about a failure; on a terminal its first line is red, unless NO_COLOR is set."""
        self.has_failed = True
        text = failure_text(name, error)
        if self._screen is not None and not os.environ.get("NO_COLOR"):
            head = f"{name} FAILED"
            text = text.replace(head, f"{_RED}{head}{_PLAIN}", 1)
        self.write(text, say)

    def stop(self) -> None:
        """Shows from now on that the build was interrupted, and waits for its stages."""
        self._is_stopping = True

    def close(self) -> None:
        """Removes the live lines, and ends the events. A second call does nothing."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._screen is not None:
            self._screen.__exit__()
            self._screen = None
        if self._events is not None:
            fates = [*self._fates.values()]
            counts = {str(fate): fates.count(fate) for fate in Fate}
            is_whole = self._stages is not None and len(fates) >= len(self._planned)
            ok = is_whole and _GOOD.issuperset(fates) and not self.has_failed
            self._tell("build_ended", ok=ok, seconds=time.monotonic() - self.began_s, counts=counts)
            if fault := self._events.close():
                sys.stderr.write(f"Events of this build are missing: {fault}\n")
            self._events = None

    def _begin(self, say: Say | None) -> None:
        """Starts showing, with the first stage that runs; announces a first build with `say`."""
        with self._lock:
            if self._thread is None and not self._ended.is_set():
                self._show(say)

    def _show(self, say: Say | None) -> None:
        from qatbuild.engine.live.remaining import Remaining  # noqa: PLC0415
        from qatbuild.engine.live.screen import Screen, is_live  # noqa: PLC0415

        self._remaining = Remaining(self._planned)
        if say is not None and not any(folder.exists() for _, folder in self._planned):
            say(self._intent())
        if is_live():
            self._screen = Screen().__enter__()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _intent(self) -> str:
        """Returns a line about the first build of a folder, which begins slowly."""
        labels = self._labels()
        more = len(labels) - _NAMED
        names = ", ".join(labels[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"First build here: {len(self._planned)} stages of {names}. TensorFlow is imported first.\n"

    def _watch(self) -> None:
        """Draws several times a second, or writes a line about each stage several times a minute."""
        next_event_s, next_line_s, next_left_s = 0.0, time.monotonic() + _LINE_EVERY_S, 0.0
        while not self._ended.wait(_DRAW_EVERY_S):
            if time.monotonic() >= next_left_s:
                next_left_s = time.monotonic() + _LEFT_EVERY_S
                self._estimate()
            with self._lock:
                for run in self._runs.values():
                    self._hear(run)
                now_s = time.monotonic()
                if self._events is not None and now_s >= next_event_s:
                    next_event_s = now_s + _EVENT_EVERY_S
                    self._tell_progress()
                if self._screen is not None:
                    self._screen.draw(self._lines(self._screen.columns))
                elif now_s >= next_line_s:
                    next_line_s = now_s + _LINE_EVERY_S
                    self._say_plainly()

    def _hear(self, run: _Run) -> None:
        """Reads what a stage has said; the last activity counts."""
        if run.tail is None:
            return
        from qatbuild.exchange.activity import Warned, read  # noqa: PLC0415

        while piece := run.tail.read():
            for said in map(read, piece.decode(errors="replace").splitlines()):
                if isinstance(said, Warned):
                    self._tell("warning", stage=_name(run.stage), text=said.warning)
                    with contextlib.suppress(OSError):
                        sys.stderr.write(f"warning: {said.warning}\n")
                elif said is not None:
                    run.activity = said

    def _tell_progress(self) -> None:
        for run in self._runs.values():
            if run.activity is not None and run.activity is not run.noted:
                run.noted = run.activity
                fields = run.activity._asdict()
                self._tell("progress", stage=_name(run.stage), **fields, left_s=run.activity.left_s)

    def _lines(self, columns: int) -> list[str]:
        from qatbuild.engine.live.words import live_line, total_line  # noqa: PLC0415

        states = self._states()
        if self._is_stopping:
            whole = f"interrupted: waiting for {len(states)} stages to end"
        else:
            whole = total_line(self._totals())
        return [*(live_line(each, columns) for each in states), whole]

    def _say_plainly(self) -> None:
        from qatbuild.engine.live.words import plain_line, total_line  # noqa: PLC0415

        lines = [plain_line(each) for each in self._states()]
        if lines:
            with contextlib.suppress(OSError):
                sys.stderr.write("".join(f"   {line}\n" for line in [*lines, total_line(self._totals())]))
                sys.stderr.flush()

    def _states(self) -> list[Running]:
        from qatbuild.engine.live.words import Running  # noqa: PLC0415

        now_s = time.monotonic()
        return [
            Running(_name(run.stage), now_s - run.began_s, self._expected_s(run), run.activity)
            for run in self._runs.values()
        ]

    def _expected_s(self, run: _Run) -> float | None:
        if run.restorable:
            return 0.0
        return self._remaining.expected_s(run.stage) if self._remaining else None

    def _estimate(self) -> None:
        """Estimates the rest, without making the build wait: of thousands of stages that takes a while."""
        with self._lock:
            fates = {**self._fates}
            running = {id_: state.left_s for id_, state in zip(self._runs, self._states(), strict=True)}
        ran = {id_ for id_, fate in fates.items() if fate is Fate.BUILT}
        self._left_s = self._remaining.left_s(fates.keys(), ran, running) if self._remaining else None

    def _totals(self) -> Totals:
        from qatbuild.engine.live.words import Totals  # noqa: PLC0415

        fates = [*self._fates.values()]
        failed = sum(map(fates.count, (Fate.FAILED, Fate.REFUSED)))
        return Totals(len(fates), len(self._planned), fates.count(Fate.RESTORED), failed, self._left_s)

    def _tell(self, event: str, **fields: object) -> None:
        if self._events is not None:
            self._events.add(event, **fields)


def _make_empty(file: Path) -> None:
    how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        descriptor = os.open(file, how, 0o666)
    except FileNotFoundError:
        make_folder(file.parent)
        descriptor = os.open(file, how, 0o666)
    os.close(descriptor)


def _name(stage: Stage) -> str:
    """Returns the name of a stage on the command line."""
    return f"{stage.labels[0]}:{stage.name}"
