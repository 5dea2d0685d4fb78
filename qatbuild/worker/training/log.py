"""Lines about a training, printed to stdout: in a build, the stage's log.txt."""

from __future__ import annotations

import sys


def write(line: str) -> None:
    """Writes one line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
