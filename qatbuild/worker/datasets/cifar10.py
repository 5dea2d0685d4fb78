"""CIFAR-10 from the official binary version: 50,000 + 10,000 images of 32x32x3, ten classes.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; the layout of the files is
described at https://www.cs.toronto.edu/~kriz/cifar.html ("Binary version").
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from tqdm import tqdm

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import console
from qatbuild.worker.datasets import Dataset, Images, labelled_images
from qatbuild.worker.datasets.archive import DAMAGE, open_tar
from qatbuild.worker.datasets.download import fetch
from qatbuild.worker.datasets.source import Source

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
DOWNLOAD_BYTES = 170_052_171

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

FOLDER = "cifar-10-batches-bin"
MEMBERS = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
IMAGES_PER_MEMBER = 10_000
ROW_BYTES = 1 + 3 * 32 * 32
"""One image in a member: its label, then 1,024 red, 1,024 green and 1,024 blue bytes."""

MEMBER_BYTES = IMAGES_PER_MEMBER * ROW_BYTES

_CHUNK_BYTES = 1 << 20
_HINT = f"Use the binary version of CIFAR-10 ({URL}), whole; or leave out dataset.path to have it downloaded."


def load(source: Source, downloads: Path) -> Dataset:
    """Load CIFAR-10 from an archive, a folder or the network; uint8 [n, 32, 32, 3], channels red, green, blue.

    `source.path`: the tar archive (uncompressed, .gz, .bz2, .xz; recognised by content, not by name), which is not
    unpacked to the disk; or the folder cifar-10-batches-bin, or its parent folder.

    Raises DatasetError with the file, the member and what was expected.
    """
    path = source.path
    if path is None:
        pinned_bytes = DOWNLOAD_BYTES if source.sha256 is None else None
        path = fetch(source.url or URL, source.sha256 or SHA256, downloads, size_bytes=pinned_bytes)
    images = np.empty((len(MEMBERS), IMAGES_PER_MEMBER, 32, 32, 3), np.uint8)
    labels = np.empty((len(MEMBERS), IMAGES_PER_MEMBER), np.int32)
    rows = np.empty((IMAGES_PER_MEMBER, ROW_BYTES), np.uint8)
    seen: list[str] = []
    members = _folder_members if path.is_dir() else _archive_members
    with tqdm(total=len(MEMBERS) * MEMBER_BYTES, desc=path.name, unit="B", unit_scale=True, **console.bar()) as bar:
        for name, size_bytes, stream in members(path):
            seen.append(name)
            if stream is None:
                continue
            if size_bytes != MEMBER_BYTES:
                raise _fault(path, name, "a member has the wrong size", f"{size_bytes:,} bytes")
            for count_bytes in _fill(rows, path, name, stream):
                bar.update(count_bytes)
            _check_labels(rows[:, 0], path, name)
            index = MEMBERS.index(name)
            labels[index] = rows[:, 0]
            images[index] = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    missing = [name for name in MEMBERS if name not in seen]
    if missing:
        raise _fault(path, ", ".join(missing), "a member is missing", f"only {', '.join(seen[:8]) or 'nothing'}")
    last = len(MEMBERS) - 1
    train = images[:last].reshape(-1, 32, 32, 3), labels[:last].reshape(-1)
    return labelled_images(train, (images[last], labels[last]), CLASS_NAMES)


def _archive_members(path: Path) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Yield (name, size, bytes) of each file in the archive; bytes of CIFAR-10's members only."""
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


def _fill(rows: Images, path: Path, name: str, stream: IO[bytes]) -> Iterator[int]:
    """Read a member into `rows`, uint8 [10000, 3073]; yield the bytes of each piece."""
    view = rows.reshape(-1).data
    done_bytes = 0
    while done_bytes < MEMBER_BYTES:
        try:
            count_bytes: int = stream.readinto(view[done_bytes : done_bytes + _CHUNK_BYTES])  # type: ignore[attr-defined]
        except DAMAGE as fault:
            raise _fault(path, name, "a member is damaged or truncated", str(fault) or type(fault).__name__) from fault
        if not count_bytes:
            raise _fault(path, name, "a member is truncated", f"{done_bytes:,} bytes")
        done_bytes += count_bytes
        yield count_bytes


def _check_labels(labels: Images, path: Path, name: str) -> None:
    wrong = np.flatnonzero(labels >= len(CLASS_NAMES))
    if len(wrong):
        got = f"image {wrong[0]} has the label {labels[wrong[0]]}"
        raise _fault(path, name, "a label is not 0..9", got)


def _fault(path: Path, member: str, what: str, got: str) -> DatasetError:
    expected = f"{MEMBER_BYTES:,} bytes: 10,000 images of one label byte (0..9) and 3,072 pixel bytes"
    facts = [("file", path), ("member", member), ("found", got), ("expected", expected)]
    return DatasetError(f"CIFAR-10 cannot be read: {what}.", facts, _HINT)
