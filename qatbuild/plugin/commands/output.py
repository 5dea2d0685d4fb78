"""The file or folder that a user names for a command's output."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from qatbuild.exchange.errors import ArtifactError, SpecError
from qatbuild.exchange.files import write_text


class Output(NamedTuple):
    """A path as the user wrote it, in the user's working directory `folder`; '' if none is named."""

    folder: Path
    path: str

    def write(self, text: str) -> None:
        """Writes a text to the file, or to stdout if none is named."""
        if self.path:
            write_text(regular(self.folder / self.path), text)
        else:
            sys.stdout.write(text)

    def file(self, default: Path) -> Path:
        """Returns the file to write."""
        return regular(self.folder / self.path) if self.path else default

    def destination(self, language: str) -> str:
        """Returns the folder to write, or a URI; SpecError if none is named."""
        if not self.path:
            raise SpecError(f"--format {language} needs a folder.", hint=f"doit report --format {language} -o FOLDER")
        return self.path if "://" in self.path else str(self.folder / self.path)

    def say(self, path: Path) -> None:
        """Prints where a file was written: relative to the user's folder if it lies below."""
        below = path.is_relative_to(self.folder)
        sys.stdout.write(f"{path.relative_to(self.folder).as_posix() if below else path}\n")


def regular(path: Path) -> Path:
    """Returns a path, links followed, at which a file may be replaced; ArtifactError where something else is."""
    target = Path(os.path.realpath(path))
    if os.path.lexists(target) and not target.is_file():
        raise ArtifactError("The output is no regular file.", [("path", path)], "name a file after -o")
    return target
