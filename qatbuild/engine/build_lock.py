"""The right to change build folders, taken at the first stale stage and kept to the end of the build."""

from __future__ import annotations

from pathlib import Path

from qatbuild.exchange.lock import Owner


class BuildLock:
    """The locks of one or several build folders, which are taken together."""

    def __init__(self, *files: Path) -> None:
        """A lock over these lock files; it is not taken yet."""
        self._files = list(files)
        self._owners: list[Owner] = []

    def add(self, file: Path) -> None:
        """Adds one more folder's lock file, before the lock is taken."""
        self._files.append(file)

    @property
    def is_held(self) -> bool:
        """Whether this process holds the locks."""
        return bool(self._owners)

    def take(self) -> bool:
        """Takes the locks unless they are held; returns whether another process had to be waited for.

        The files are taken in one order by everyone, so that two builds cannot wait for each other.
        """
        if self._owners:
            return False
        owners = [Owner(file) for file in sorted(set(self._files))]
        try:
            waited = [owner.take() for owner in owners]
        except BaseException:  # A lock that was not taken must not count as held.
            for owner in owners:
                owner.give_back()
            raise
        self._owners = owners
        return any(waited)

    def give_back(self) -> None:
        """Releases the locks."""
        for owner in self._owners:
            owner.give_back()
        self._owners = []
