"""Reuses scratch folders: a file system may take milliseconds to remove a folder, and microseconds to rename it."""

from __future__ import annotations

import os
from pathlib import Path

from qatbuild.exchange.files import remove


class Scratch:
    """The scratch folders that the stages of this build have left empty. Threads may share it."""

    def __init__(self) -> None:
        """Begins without folders."""
        self._empty: list[str] = []

    def take(self, work: Path) -> None:
        """Moves an empty folder to `work`, if there is one and `work` does not hold files of a killed build."""
        try:
            folder = self._empty.pop()
        except IndexError:
            return
        target = str(work)
        try:
            try:
                os.rename(folder, target)  # noqa: PTH104  Once a stage: a Path would take longer than the call.
            except FileNotFoundError:
                work.parent.mkdir(parents=True, exist_ok=True)
                os.rename(folder, target)  # noqa: PTH104
        except OSError:
            remove(folder)

    def give_back(self, work: Path, *, keep: bool) -> None:
        """Takes over the scratch folder of a stage that has been published; removes it unless it is empty.

        Without `keep` an empty one is removed, too: another build could need a folder of that name.
        """
        folder = str(work)
        try:
            is_empty = keep and os.listdir(folder) == ["out"] and not os.listdir(f"{folder}/out")  # noqa: PTH208
        except OSError:
            is_empty = False
        if is_empty:
            self._empty.append(folder)
        else:
            remove(folder)

    def remove(self) -> None:
        """Removes the empty folders, at the end of a build."""
        while self._empty:
            remove(self._empty.pop())
