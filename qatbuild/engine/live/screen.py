"""A block of lines at the end of a terminal that is drawn again and again, below the text that stays.

Text that is written meanwhile, also by other code to stdout or stderr, goes above the block in one piece with it, so
that neither tears the other. The cursor rests at the start of the block's last line: there a terminal echoes ^C, which
the next drawing removes. A terminal that becomes narrower breaks the lines of the block as it breaks all others, and
the next drawing counts the rows that they have then (as indicatif does, with which cargo and uv draw).

Ctrl-Z removes the block, `kill -STOP` leaves it there; `fg` draws it anew below what the shell has written. In the
background nothing is drawn or removed: the terminal is another program's then.

Why not tqdm's own `position=`: it draws each bar by itself, leaves the broken rows of a narrower terminal behind, and
text of others lands in the middle of a bar.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TextIO

from qatbuild.engine.live.suspension import suspendable


def is_live(environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether lines can be drawn: stdout and stderr are a terminal, and no CI server keeps what it shows."""
    is_ci = environment.get("CI", "").lower() not in {"", "0", "false"}
    return not is_ci and environment.get("TERM") != "dumb" and sys.stdout.isatty() and sys.stderr.isatty()


class Screen:
    """The block of a build. While it is open, stdout and stderr are replaced by streams that respect it."""

    def __init__(self) -> None:
        """Draws nothing yet."""
        self._lock = threading.RLock()
        self._lines: tuple[str, ...] = ()
        self._shown: tuple[str, ...] = ()
        self._notes: dict[object, str] = {}
        self._drawn_at: os.terminal_size | None = None
        self._in_line = False
        self._is_away = False
        self._stops = contextlib.ExitStack()
        self._out, self._err = sys.stdout, sys.stderr

    def __enter__(self) -> Self:
        sys.stdout, sys.stderr = _Above(self._out, self), _Above(self._err, self)
        _open.append(self)
        self._stops.enter_context(suspendable(self._leave, self._come_back))
        return self

    def __exit__(self, *_: object) -> None:
        self._stops.close()
        _open.remove(self)
        self._notes.clear()
        self.draw(())
        for name, stream in (("stdout", self._out), ("stderr", self._err)):
            if isinstance(getattr(sys, name), _Above):
                setattr(sys, name, stream)

    def draw(self, lines: Sequence[str]) -> None:
        """Shows these lines in place of the last ones; a terminal that is gone is not an error."""
        with self._lock:
            lines = (*self._notes.values(), *lines) if self._has_terminal() else ()
            size = self._size()
            if (lines, size) == (self._lines, self._drawn_at):
                return
            self._lines = lines
            if not self._in_line:  # The end of a text's last line would be overwritten.
                self._put(self._erased() + self._drawn())

    def note(self, author: object, text: str) -> None:
        """Adds, replaces or with '' removes a line of another author, for the next drawing."""
        with self._lock:
            self._notes.pop(author, None)
            if text:
                self._notes[author] = text

    def write(self, text: str, say: Callable[[str], object]) -> None:
        """Has `say` write text that stays, above the block."""
        if not text:
            return
        with self._lock:
            self._put(self._erased())
            say(text)
            self._out.flush()
            self._in_line = not text.endswith("\n")
            if not self._in_line:
                self._put(self._drawn())

    def _leave(self) -> None:
        """Leaves the terminal to the shell."""
        with self._lock:
            self._put(self._erased())
            self._is_away = True

    def _come_back(self) -> None:
        """Lets the next drawing show the block anew, below what the shell has written meanwhile."""
        with self._lock:
            self._is_away, self._lines, self._shown = False, (), ()

    def _has_terminal(self) -> bool:
        """Returns whether this process is in the foreground of its terminal."""
        if self._is_away:
            return False
        try:
            return os.tcgetpgrp(self._err.fileno()) == os.getpgrp()
        except (OSError, ValueError):  # No terminal of this session: whatever stands for one.
            return True

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # Ctrl-Z may come in the middle of a write.
            if text:
                self._err.write(text)
                self._err.flush()

    def _erased(self) -> str:
        """Forgets the shown block; returns what removes it: from its first row to the end of the screen."""
        shown, self._shown = self._shown, ()
        if not shown or not self._has_terminal():
            return ""
        columns, _ = self._size()
        above = sum(max(1, -(-len(line) // columns)) for line in shown[:-1])
        return "\r" + (f"\x1b[{above}A" if above else "") + "\x1b[J"

    def _drawn(self) -> str:
        """Returns what shows the block: no line is broken, and no row of a low terminal is missing."""
        columns, rows = self._drawn_at = self._size()
        lines = self._lines if self._has_terminal() else ()
        if len(lines) > max(1, rows - 1):  # The last one is that of the whole build.
            kept = max(0, rows - 3)
            lines = (*lines[:kept], f"... and {len(lines) - 1 - kept} more", lines[-1])[-max(1, rows - 1) :]
        self._shown = tuple(line[: max(1, columns - 1)] for line in lines)
        return "\n".join(self._shown) + "\r" if self._shown else ""

    def _size(self) -> os.terminal_size:
        try:
            size = os.get_terminal_size(self._err.fileno())
        except (OSError, ValueError, io.UnsupportedOperation):
            size = shutil.get_terminal_size()
        return size if size.columns and size.lines else os.terminal_size((80, 24))

    @property
    def columns(self) -> int:
        """The width that a line can have."""
        return max(1, self._size().columns - 1)


_open: list[Screen] = []
"""The screen of this process, while it is open."""


def place_of_bar() -> dict[str, Any]:
    """Returns arguments for a tqdm bar of this process: it becomes a line of the block while a screen is open."""
    return {"file": _Note(_open[-1]), "ncols": _open[-1].columns} if _open else {}


class _Note:
    """A stream for one bar, which becomes a line of the block."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def write(self, text: str) -> None:
        """Called by tqdm: shows a line, or removes it if it is empty."""
        self._screen.note(self, text.strip("\r\n "))

    def flush(self) -> None:
        """Does nothing: the next drawing shows the line."""


class _Above:
    """A standard stream whose text goes above the block of a screen."""

    def __init__(self, stream: TextIO, screen: Screen) -> None:
        self._stream = stream
        self._screen = screen

    def write(self, text: str) -> int:
        """Writes text."""
        self._screen.write(text, self._stream.write)
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        """Writes several texts as one."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
