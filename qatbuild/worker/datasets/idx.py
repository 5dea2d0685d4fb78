"""IDX files: MNIST, and other datasets with the same four files (Fashion-MNIST, Kuzushiji-MNIST, EMNIST, ...).

Source of the format: Y. LeCun, C. Cortes, C. Burges, The MNIST Database ("File formats for the MNIST database").
"""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets import Dataset, labelled_images
from qatbuild.worker.datasets.archive import DAMAGE
from qatbuild.worker.datasets.download import fetch
from qatbuild.worker.datasets.rows import Computed, RowFile, Rows, with_channel
from qatbuild.worker.datasets.source import Source
from qatbuild.worker.datasets.unpacked import Unpacked

URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
SHA256 = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
"""MNIST's four files, with the SHA-256 of each file's .gz below URL."""

_UNSIGNED_BYTE = 8
_CHUNK_BYTES = 1 << 20
_HINT = (
    f"The folder needs the four files {', '.join(SHA256)}, each as it is or as .gz; leave dataset.path out to have "
    "MNIST downloaded."
)


def load(source: Source, downloads: Path) -> Dataset:
    """Loads training and test set from four IDX files, uint8 [n, height, width, 1]; classes are 0..largest label.

    `source.path`: the folder with the four files under their official names, plain or .gz (also with a dot, as
    `train-images.idx3-ubyte`). Without a path MNIST is downloaded; `source.url` is then the folder of a mirror with the
    same four .gz files.

    Raises DatasetError with the file and what was expected.
    """
    path = source.path
    if path is None:
        files = _downloaded(source.url or URL, source.sha256, downloads)
    elif path.is_dir():
        files = [_found(path, name) for name in SHA256]
    else:
        raise _fault(path, "it is not a folder", "a file", "a folder with four IDX files")
    images, labels = _pair(files[0], files[1], downloads)
    test_images, test_labels = _pair(files[2], files[3], downloads)
    if images.shape != test_images.shape:
        sizes = ["x".join(map(str, each.shape)) for each in (test_images, images)]
        raise _fault(files[2], "test and training images differ in size", sizes[0], f"{sizes[1]} (height x width)")
    trained = _counts(labels)
    present = np.flatnonzero(trained + _counts(test_labels))
    classes = int(present[-1]) + 1
    untrained = np.flatnonzero(trained[:classes] == 0)
    return labelled_images(
        (with_channel(images), _whole(labels)),
        (with_channel(test_images), _whole(test_labels)),
        class_names=tuple(str(label) for label in range(classes)),
        notes=(f"classes without training images: {', '.join(map(str, untrained))}",) if len(untrained) else (),
    )


def _counts(labels: RowFile) -> npt.NDArray[np.int64]:
    """Returns how often each byte is a label: int64 [256]."""
    counts = np.zeros(256, np.int64)
    for part in labels.blocks():
        counts += np.bincount(part, minlength=256)
    return counts


def _whole(labels: RowFile) -> Rows:
    return Computed(labels, np.dtype(np.int32), (), lambda part: part.astype(np.int32))


def _downloaded(url: str, sha256: str | None, downloads: Path) -> list[Path]:
    if sha256 is not None:
        raise DatasetError(
            "One checksum cannot cover the four files of MNIST.",
            [("dataset.sha256", sha256)],
            'Leave "sha256" out, for the four files have checksums of their own; for another set give "path".',
        )
    return [fetch(f"{url.rstrip('/')}/{name}.gz", digest, downloads) for name, digest in SHA256.items()]


def _found(folder: Path, name: str) -> Path:
    spellings = [spelling + end for spelling in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    for spelling in spellings:
        if (folder / spelling).is_file():
            return folder / spelling
    present = ", ".join(sorted(file.name for file in folder.iterdir())[:8]) or "nothing"
    raise _fault(folder, f"{name} is missing", f"only {present}", " or ".join(spellings))


def _pair(images_file: Path, labels_file: Path, downloads: Path) -> tuple[RowFile, RowFile]:
    images, labels = _read(images_file, 3, downloads), _read(labels_file, 1, downloads)
    if len(images) != len(labels):
        expected = f"{len(images)}, one for each image in {images_file.name}"
        raise _fault(labels_file, "images and labels differ in number", f"{len(labels)} labels", expected)
    return images, labels


def _read(file: Path, dimensions: int, downloads: Path) -> RowFile:
    """Opens an IDX file: 2 zero bytes, type, number of dimensions, big-endian sizes, then the values.

    A compressed one is unpacked into `downloads`.
    """
    try:
        if file.suffix != ".gz":
            return _plain(file, dimensions)
        with gzip.open(file) as stream:
            return _unpacked(stream, file, dimensions, downloads)
    except DAMAGE as fault:
        raise _fault(
            file, "it is damaged or truncated", str(fault) or type(fault).__name__, "a whole IDX file, plain or gzip"
        ) from fault


def _plain(file: Path, dimensions: int) -> RowFile:
    with file.open("rb") as stream:
        shape = _header(stream, file, dimensions)
        _check_size(file, shape, os.fstat(stream.fileno()).st_size - stream.tell())
        return RowFile(stream, file, start=stream.tell(), dtype=np.uint8, shape=shape)


def _unpacked(stream: gzip.GzipFile, file: Path, dimensions: int, downloads: Path) -> RowFile:
    """Copies what is decompressed, at most one byte more than expected, however wrong the header is."""
    shape = _header(stream, file, dimensions)
    rows, at, most = Unpacked(downloads, file, shape), 0, math.prod(shape) + 1
    while content := stream.read(min(_CHUNK_BYTES, most - at)):
        rows.write(at, content)
        at += len(content)
    _check_size(file, shape, at)
    return rows


def _header(stream: IO[bytes] | gzip.GzipFile, file: Path, dimensions: int) -> tuple[int, ...]:
    """Reads the header and returns the shape of the values."""
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    header_bytes = len(magic) + 4 * dimensions
    header = stream.read(header_bytes)
    if header[:4] != magic:
        expected = f"{magic.hex(' ')}: unsigned bytes, {dimensions} dimension(s)"
        raise _fault(file, "wrong magic number", header[:4].hex(" ") or "an empty file", expected)
    if len(header) < header_bytes:
        raise _fault(file, "it ends within its header", f"{len(header)} bytes", f"{header_bytes} bytes")
    shape = tuple(int(size) for size in np.frombuffer(header[4:], ">u4"))
    if 0 in shape:
        raise _fault(file, "it is declared empty", f"sizes {shape}", "sizes of at least 1")
    return shape


def _check_size(file: Path, shape: tuple[int, ...], body_bytes: int) -> None:
    wanted_bytes = math.prod(shape)
    if body_bytes == wanted_bytes:
        return
    header_bytes = 4 + 4 * len(shape)
    # Of a compressed file that is too long the rest is not read.
    got = f"{header_bytes + body_bytes:,} bytes" if body_bytes < wanted_bytes else "more"
    expected = f"{header_bytes + wanted_bytes:,} bytes for the sizes {shape} in its header"
    raise _fault(file, "its length differs from its header", got, expected)


def _fault(file: Path, what: str, got: str, expected: str) -> DatasetError:
    facts = [("file", file), ("found", got), ("expected", expected)]
    return DatasetError(f"IDX data cannot be read: {what}.", facts, _HINT)
