"""How pictures lie in folders: which are splits, and what to do about files and folders that are in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets.picture_folders import ENDINGS, FOLDERS, visible
from qatbuild.worker.look.kinds import is_clutter

_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}

_CLUTTER_HINT = "remove it, no picture is lost"
_LINK_HINT = "remove the link, or bring back what it leads to"
_FILE_HINT = "move the file elsewhere"
_EMPTY_HINT = "remove the empty folder, or fill it"
_OUTSIDE_HINT = (
    "Move it into the folder of its class; or give a CSV file with the header name,label beside the pictures."
)


def split_folders(folder: Path) -> Mapping[str, str]:
    """Returns the folders of the splits by split, in any case; none without one of training."""
    names = {name.casefold(): name for name in visible(folder) if (folder / name).is_dir()}
    places = {
        split: names[spelling] for split, spellings in _SPELLINGS.items() for spelling in spellings if spelling in names
    }
    return places if "train" in places else {}


def unusual(splits: Mapping[str, str]) -> Mapping[str, str] | None:
    """Returns the folders that a spec has to name; None without any."""
    return {split: name for split, name in splits.items() if name not in FOLDERS[split]} or None


def obstacle(folder: Path) -> DatasetError | None:
    """Returns why the pictures in a folder cannot be listed, with what to do; None if there is no such reason."""
    splits = split_folders(folder)
    for place in [folder / name for name in splits.values()] or [folder]:
        for message, path, hint in _obstacles(place):
            return DatasetError(message, [("data", folder), ("path", path)], hint)
    return None


def _obstacles(place: Path) -> Iterator[tuple[str, Path, str]]:
    entries = [place / name for name in visible(place)]
    for entry in entries:
        if is_clutter(entry.name):
            yield "Something that an operating system left lies among the classes.", entry, _CLUTTER_HINT
        elif entry.is_symlink() and not entry.exists():
            yield "A link leads nowhere.", entry, _LINK_HINT
        elif not entry.is_dir() and entry.suffix.lower() in ENDINGS:
            yield "A picture lies outside the folders of the classes.", entry, _OUTSIDE_HINT
        elif not entry.is_dir():
            yield "A file lies among the folders of the classes.", entry, _FILE_HINT
    for entry in entries:
        yield from _obstacles_in_class(entry)


def _obstacles_in_class(folder: Path) -> Iterator[tuple[str, Path, str]]:
    names = visible(folder)
    if not names:
        yield "A class has no pictures.", folder, _EMPTY_HINT
    for entry in (folder / name for name in names):
        if entry.is_symlink() and not entry.exists():
            yield "A link leads nowhere.", entry, _LINK_HINT
        elif entry.is_dir():
            hint = f"Move the pictures of {entry.name} up into {folder.name}; or give {folder.name} alone as the data."
            yield "A class holds a folder.", entry, hint
