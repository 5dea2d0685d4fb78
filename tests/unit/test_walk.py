"""Folders are walked through links, once around a circle."""

from __future__ import annotations

from pathlib import Path

from qatbuild.engine.walk import tree


def test_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    for here, there in (("a", "b"), ("b", "a")):
        (tmp_path / here).mkdir()
        (tmp_path / here / f"in_{here}").touch()
        for number in range(4):  # Followed for ever, four links a folder would be 4 ** 40 paths.
            (tmp_path / here / f"{number}").symlink_to(f"../{there}")
    (tmp_path / "up").symlink_to(tmp_path.parent)
    folders, files = tree(str(tmp_path))
    assert len(files) == len(folders) - 1 == 2 + 2 * 4
    assert {Path(file).name for file in files} == {"in_a", "in_b"}
