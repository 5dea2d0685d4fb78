"""The pages of the documentation and their code blocks.

What a block is for stands in the line above it, or behind its language:

    <!-- ci: NAME -->                 .ci/run runs it, and finds it by this name
    *Not run by the tests: REASON*    it is not run, and the reader sees why
    ```python networks.py             it is the content of this file of the example project

Every other `sh` and `python` block is run by tests/e2e/test_docs.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "qatbuild/docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md")), REPOSITORY / ".github/CONTRIBUTING.md"]

_NOTE = re.compile(r"<!-- ci: (?P<ci>.+) -->|\*Not run by the tests: (?P<not_run>.+)\*")


class Block(NamedTuple):
    """A fenced code block: its page, the line of its fence, and the note above it."""

    page: str
    line: int
    language: str
    file: str
    text: str
    ci: str = ""
    not_run: str = ""

    @property
    def id(self) -> str:
        """A name for test reports: page and first line."""
        return f"{self.page}: {self.text.splitlines()[0]}"

    @property
    def is_run(self) -> bool:
        """Whether the tests of the documentation run it."""
        return self.language in {"sh", "python"} and not (self.ci or self.file or self.not_run)


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    note: dict[str, str] = {}
    start = None
    for number, line in enumerate(lines, 1):
        fence = line.startswith("```")
        if start is None and fence:
            start = number
        elif start is not None and fence:
            text = "\n".join(lines[start : number - 1]) + "\n"
            language, _, file = lines[start - 1].removeprefix("```").partition(" ")
            yield Block(page.name, start, language, file, text, **note)
            start, note = None, {}
        elif start is None and line.strip():
            match = _NOTE.fullmatch(line.strip())
            note = {name: value for name, value in match.groupdict().items() if value} if match else {}


BLOCKS = [block for page in PAGES if page.is_file() for block in blocks(page)]
