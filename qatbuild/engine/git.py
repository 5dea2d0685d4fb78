"""A git revision of the project, to compare the working tree with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from qatbuild.exchange.errors import ArtifactError

_FILE_MODES = ("100644", "100755")


class Revision:
    """The files of a revision, and the changes since, committed or not."""

    def __init__(self, root: Path, name: str) -> None:
        """Finds the revision `name` of the repository around `root`. ArtifactError for an unknown revision."""
        self._folder = root
        self.name = name
        self.top = Path(os.fsdecode(self._git("rev-parse", "--show-toplevel")).rstrip("\n"))
        commit = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        self.commit = commit.decode().strip()
        self._folder = self.top

    def changed(self) -> set[str]:
        """Returns the files that differ from the revision, relative to the repository, without ignored ones."""
        differing = self._git("diff", "--name-only", "--no-renames", "-z", self.commit, "--")
        untracked = self._git("ls-files", "--others", "--exclude-standard", "-z")
        return {name for name in os.fsdecode(differing + untracked).split("\0") if name}

    def extract(self, folder: Path, wanted: Callable[[PurePosixPath], bool]) -> None:
        """Writes the revision's wanted files into `folder`, at their paths relative to the repository."""
        rows = (row.partition("\t") for row in os.fsdecode(self._git("ls-tree", "-r", "-z", self.commit)).split("\0"))
        files = {name: about.split()[2] for about, _, name in rows if about.startswith(_FILE_MODES)}
        files = {name: blob for name, blob in files.items() if wanted(PurePosixPath(name))}
        output = self._git("cat-file", "--batch", text="".join(f"{blob}\n" for blob in files.values()).encode())
        at = 0
        for name in files:
            head, start = output[at : (end := output.index(b"\n", at))], end + 1
            size_bytes = int(head.split()[2])
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(output[start : start + size_bytes])
            at = start + size_bytes + 1

    def _git(self, *arguments: str, text: bytes = b"") -> bytes:
        try:
            command = ["git", "-C", str(self._folder), *arguments]
            done = subprocess.run(command, input=text, capture_output=True, check=False)
        except FileNotFoundError as fault:
            raise ArtifactError("git is not installed.", [("revision", self.name)], "install git") from fault
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or "unknown revision"
            facts = [("revision", self.name), ("git says", said)]
            raise ArtifactError(
                "git cannot compare the working tree with the revision.", facts, "name a commit, a branch or a tag"
            )
        return done.stdout
