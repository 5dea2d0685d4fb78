"""Removes files and folders that nothing needs, and says which it cannot remove: no result depends on them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def remove(path: Path | str) -> bool:
    """Removes a file, or a folder with its files; returns whether it is gone, and prints a line about it if not.

    It may not have existed. Of a folder as much as possible is removed.
    """
    try:
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114  Called once a stage.
            shutil.rmtree(path)
        else:
            os.unlink(path)  # noqa: PTH108
    except OSError as fault:
        shutil.rmtree(path, ignore_errors=True)
        if os.path.lexists(path):
            sys.stderr.write(f"{os.path.relpath(path)} cannot be removed: {fault.strerror or fault}\n")
            return False
    return True
