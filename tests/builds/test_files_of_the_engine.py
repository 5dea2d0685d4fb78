"""The files below build/.qatbuild are those of docs/architecture.md, and each is only a shortcut."""

from __future__ import annotations

import re
import shutil

from tests.builds.conftest import REPOSITORY, ToyProject

PAGE = (REPOSITORY / "qatbuild/docs/architecture.md").read_text()
_TABLE = PAGE.partition("## Files below build/.qatbuild")[2].partition("## ")[0]
FILES = re.findall(r"^\| ([a-z][\w./]+) \|", _TABLE, re.MULTILINE)[1:]

OF_OTHER_MACHINES = {"partial/SHA256", "partial/uploads/KEY", "dask/"}
"""Files of builds with a cache or a cluster."""


def test_the_page_lists_every_file_and_each_can_be_deleted(toy: ToyProject) -> None:
    toy.built()
    folder = toy.root / "build/.qatbuild"
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    names = {re.sub(r"^code/[0-9a-f]+", "code/DIGEST", name) for name in paths if not name.endswith(("-wal", "-shm"))}
    assert names == set(FILES) - {"failures.json"} - OF_OTHER_MACHINES  # no evaluation failed
    for name in names:
        for path in folder.glob(name.replace("DIGEST", "*")):
            path.unlink()
        assert toy.built() == [], f"without {name}"
    shutil.rmtree(folder)
    assert toy.built() == []
