"""Lines about a training: stdout, which in a build is the stage's log.txt."""

from __future__ import annotations

import sys


def write(line: str) -> None:
    """Write one line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
