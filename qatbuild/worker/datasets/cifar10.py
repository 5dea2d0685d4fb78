"""CIFAR-10 from the official binary version: 50,000 + 10,000 images of 32x32x3, ten classes.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; the layout of the files is
described at https://www.cs.toronto.edu/~kriz/cifar.html ("Binary version").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import console
from qatbuild.worker.datasets import Dataset, labelled_images
from qatbuild.worker.datasets.archive import DAMAGE, open_tar
from qatbuild.worker.datasets.download import fetch
from qatbuild.worker.datasets.rows import Computed, InMemory, Rows
from qatbuild.worker.datasets.source import Source
from qatbuild.worker.datasets.unpacked import Unpacked

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
DOWNLOAD_BYTES = 170_052_171

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

FOLDER = "cifar-10-batches-bin"
SPLITS = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
MEMBERS = SPLITS["train"] + SPLITS["test"]
IMAGES_PER_MEMBER = 10_000
ROW_BYTES = 1 + 3 * 32 * 32
"""One image in a member: its label, then 1,024 red, 1,024 green and 1,024 blue bytes."""

MEMBER_BYTES = IMAGES_PER_MEMBER * ROW_BYTES

_CHUNK_BYTES = 1 << 20
_HINT = f"Use the binary version of CIFAR-10 ({URL}), whole; or leave out dataset.path to have it downloaded."


def load(source: Source, downloads: Path) -> Dataset:
    """Loads CIFAR-10 from an archive, a folder or the network; uint8 [n, 32, 32, 3], channels red, green, blue.

    `source.path`: the tar archive (uncompressed, .gz, .bz2, .xz; recognised by content, not by name); or the folder
    cifar-10-batches-bin, or its parent folder. What it holds is kept in files without names in `downloads`, 184 MB.

    Raises DatasetError with the file, the member and what was expected.
    """
    path = source.path
    if path is None:
        pinned_bytes = DOWNLOAD_BYTES if source.sha256 is None else None
        path = fetch(source.url or URL, source.sha256 or SHA256, downloads, size_bytes=pinned_bytes)
    splits = {
        split: Unpacked(downloads, path, (len(members) * IMAGES_PER_MEMBER, ROW_BYTES))
        for split, members in SPLITS.items()
    }
    seen: list[str] = []
    members = _folder_members if path.is_dir() else _archive_members
    with console.bar(total=len(MEMBERS) * MEMBER_BYTES, desc=path.name, unit="B", unit_scale=True) as bar:
        for name, size_bytes, stream in members(path):
            seen.append(name)
            if stream is None:
                continue
            if size_bytes != MEMBER_BYTES:
                raise _fault(path, name, "a member has the wrong size", f"{size_bytes:,} bytes")
            split = "train" if name in SPLITS["train"] else "test"
            at = SPLITS[split].index(name) * MEMBER_BYTES
            for content in _pieces(path, name, stream):
                splits[split].write(at, content)
                at += len(content)
                bar.update(len(content))
    missing = [name for name in MEMBERS if name not in seen]
    if missing:
        raise _fault(path, ", ".join(missing), "a member is missing", f"only {', '.join(seen[:8]) or 'nothing'}")
    train, test = (_columns(rows, path, SPLITS[split]) for split, rows in splits.items())
    return labelled_images(train, test, CLASS_NAMES)


def _columns(rows: Unpacked, path: Path, members: Sequence[str]) -> tuple[Rows, Rows]:
    """Returns images and labels of a split; DatasetError for a label above 9."""
    labels = np.concatenate([block[:, 0].astype(np.int32) for block in rows.blocks()])
    wrong = np.flatnonzero(labels >= len(CLASS_NAMES))
    if len(wrong):
        member, number = divmod(int(wrong[0]), IMAGES_PER_MEMBER)
        raise _fault(path, members[member], "a label is not 0..9", f"image {number} has the label {labels[wrong[0]]}")
    return Computed(rows, np.dtype(np.uint8), (32, 32, 3), _pixels), InMemory(labels)


def _pixels(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _archive_members(path: Path) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Yields (name, size, bytes) of each file in the archive; bytes of CIFAR-10's members only."""
    at = "the first"
    try:
        with open_tar(path) as archive:
            for entry in archive:
                name = entry.name.rpartition("/")[2]
                if entry.isreg():
                    yield name, entry.size, archive.extractfile(entry) if name in MEMBERS else None
                at = f"the one after {name}"
    except DAMAGE as fault:
        raise _fault(path, at, "it is damaged, or not a tar archive", str(fault) or type(fault).__name__) from fault


def _folder_members(path: Path) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    for file in sorted(folder.iterdir()):
        if file.name not in MEMBERS:
            yield file.name, 0, None
            continue
        if not file.is_file():  # Opening a FIFO would wait.
            raise _fault(folder, file.name, "a member cannot be opened", "not a file")
        try:
            stream = file.open("rb")
        except OSError as fault:
            raise _fault(folder, file.name, "a member cannot be opened", str(fault)) from fault
        with stream:
            yield file.name, file.stat().st_size, stream


def _pieces(path: Path, name: str, stream: IO[bytes]) -> Iterator[bytes]:
    """Yields the bytes of a member piece by piece."""
    rest_bytes = MEMBER_BYTES
    while rest_bytes:
        try:
            content = stream.read(min(_CHUNK_BYTES, rest_bytes))
        except DAMAGE as fault:
            raise _fault(path, name, "a member is damaged or truncated", str(fault) or type(fault).__name__) from fault
        if not content:
            raise _fault(path, name, "a member is truncated", f"{MEMBER_BYTES - rest_bytes:,} bytes")
        yield content
        rest_bytes -= len(content)


def _fault(path: Path, member: str, what: str, got: str) -> DatasetError:
    expected = f"{MEMBER_BYTES:,} bytes: 10,000 images of one label byte (0..9) and 3,072 pixel bytes"
    facts = [("file", path), ("member", member), ("found", got), ("expected", expected)]
    return DatasetError(f"CIFAR-10 cannot be read: {what}.", facts, _HINT)
