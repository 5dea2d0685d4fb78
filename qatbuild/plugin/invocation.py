"""What `doit run` was asked for: for the door of a dodo.py, which doit opens without telling it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from qatbuild.engine.pools import Pools
from qatbuild.exchange.lock import Owner


@dataclass
class Asked:
    """One run: the names on its command line, and whether every stage is to run, current or not (-a).

    `folders` are those of the memories of the doors that were opened, so there is a door if there are any. `finish` is
    what a door wants done when all stages have run, whatever became of them; `stop` ends those that run. `pools` say
    what may run side by side.
    """

    names: tuple[str, ...]
    always: bool = False
    folders: list[Path] = field(default_factory=list)
    finish: list[Callable[[], None]] = field(default_factory=list)
    stop: list[Callable[[], None]] = field(default_factory=list)
    pools: Pools = field(default_factory=lambda: Pools({}))
    _owners: list[Owner] = field(default_factory=list)

    @property
    def owned(self) -> bool:
        """Whether no one else may build in these folders."""
        return bool(self._owners)

    def own(self) -> bool:
        """Let no one else build in these folders until the run ends; whether that had to be waited for."""
        if self._owners:
            return False
        self._owners = [Owner(folder / "lock") for folder in sorted(set(self.folders))]
        waited = [owner.take() for owner in self._owners]
        return any(waited)

    def interrupt(self) -> None:
        """End the stages that run."""
        for what in self.stop:
            what()

    def end(self) -> None:
        """Do what the doors want done, and let others in."""
        try:
            for what in self.finish:
                what()
        finally:
            for owner in self._owners:
                owner.give_back()


_now: list[Asked] = []


@contextlib.contextmanager
def asking(asked: Asked) -> Iterator[None]:
    """While open, `current` is this run."""
    _now.append(asked)
    try:
        yield
    finally:
        _now.pop()


def current() -> Asked | None:
    """The run that is being prepared, or under way; None for every other command."""
    return _now[-1] if _now else None
