"""A terminal for tests: a program in a pseudo-terminal, and the screen that a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests.builds.conftest import REPOSITORY

_PATIENCE_S = 120


class Reflowing(pyte.Screen):
    """A screen whose lines break anew when it becomes narrower, as those of most terminals do; pyte cuts them off."""

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        """Called by pyte with its own size, and by tests with another one."""
        width = columns or self.columns
        before, was_at, at = [line.rstrip() for line in self.display], self.cursor.y, 0
        super().resize(lines, columns)
        if width >= max(map(len, before)):
            return
        rows: list[str] = []
        for number, text in enumerate(before):
            if number == was_at:
                at = len(rows)
            rows += [text[start : start + width] for start in range(0, max(1, len(text)), width)]
        lost = max(0, at - self.lines + 1)
        self.reset()
        for number, row in enumerate(rows[lost : lost + self.lines]):
            self.cursor_position(number + 1, 1)
            self.draw(row)
        self.cursor_position(at - lost + 1, 1)


class Terminal:
    """A program that runs in a terminal, as its session's foreground process."""

    def __init__(
        self, *command: str, cwd: Path, columns: int = 100, rows: int = 40, environment: Mapping[str, str] | None = None
    ) -> None:
        self.screen = Reflowing(columns, rows)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)
        self._terminal, inside = pty.openpty()
        self._set_size(rows, columns)
        kept = {name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR", "COLUMNS", "LINES"}}
        variables = {**kept, "TERM": "xterm", "PYTHONPATH": str(REPOSITORY), **(environment or {})}
        code = (
            "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *command],
            cwd=cwd,
            env=variables,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        )
        os.close(inside)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._terminal)

    @property
    def lines(self) -> list[str]:
        """The rows of the screen that are not empty."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(self.lines)

    def until(self, shown: Callable[[str], object]) -> str:
        """Reads what the program writes until the screen is as wanted; returns it."""
        end_s = time.monotonic() + _PATIENCE_S
        while not shown(self.text):
            assert self._read(end_s), f"the program has ended, and shows\n{self.text}"
        return self.text

    def end(self) -> int:
        """Reads until the program has ended; returns its exit status."""
        end_s = time.monotonic() + _PATIENCE_S
        while self._read(end_s):
            pass
        return self.process.wait()

    def resize(self, columns: int, rows: int = 40) -> None:
        """Changes the size of the window."""
        self.screen.resize(rows, columns)
        self._set_size(rows, columns)

    def press(self, keys: bytes) -> None:
        """Types on the keyboard."""
        os.write(self._terminal, keys)

    def stop(self) -> None:
        """Stops the foreground process group, without a warning as Ctrl-Z gives it."""
        os.killpg(os.tcgetpgrp(self._terminal), signal.SIGSTOP)

    def _set_size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self, end_s: float) -> bool:
        """Reads a piece; returns False at the end. AssertionError if none comes in time."""
        assert select.select([self._terminal], [], [], max(0, end_s - time.monotonic()))[0], f"too late:\n{self.text}"
        try:
            piece = os.read(self._terminal, 1 << 16)
        except OSError:  # EIO: nothing has it open any more.
            return False
        self.raw += piece
        self._stream.feed(piece)
        return bool(piece)
