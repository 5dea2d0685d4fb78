"""IDX files: MNIST, and other datasets with the same four files (Fashion-MNIST, Kuzushiji-MNIST, EMNIST, ...).

Source of the format: Y. LeCun, C. Cortes, C. Burges, The MNIST Database ("File formats for the MNIST database").
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets import Dataset, labelled_images
from qatbuild.worker.datasets.archive import DAMAGE
from qatbuild.worker.datasets.download import fetch
from qatbuild.worker.datasets.source import Source

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
    """Load training and test set from four IDX files, uint8 [n, height, width, 1]; classes are 0..largest label.

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
    train_images, train_labels = _pair(*files[:2])
    test_images, test_labels = _pair(*files[2:])
    if train_images.shape[1:] != test_images.shape[1:]:
        sizes = ["x".join(map(str, images.shape[1:3])) for images in (test_images, train_images)]
        raise _fault(files[2], "test and training images differ in size", sizes[0], f"{sizes[1]} (height x width)")
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    untrained = np.flatnonzero(np.bincount(train_labels, minlength=classes) == 0)
    return labelled_images(
        (train_images, train_labels),
        (test_images, test_labels),
        class_names=tuple(str(label) for label in range(classes)),
        notes=(f"classes without training images: {', '.join(map(str, untrained))}",) if len(untrained) else (),
    )


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


def _pair(images_file: Path, labels_file: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    images, labels = _read(images_file, 3), _read(labels_file, 1)
    if len(images) != len(labels):
        expected = f"{len(images)}, one for each image in {images_file.name}"
        raise _fault(labels_file, "images and labels differ in number", f"{len(labels)} labels", expected)
    return images[..., np.newaxis], labels.astype(np.int32)


def _read(file: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read the bytes of an IDX file: 2 zero bytes, type, number of dimensions, big-endian sizes, then the values."""
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    header_bytes = len(magic) + 4 * dimensions
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            header = stream.read(header_bytes)
            if header[:4] != magic:
                expected = f"{magic.hex(' ')}: unsigned bytes, {dimensions} dimension(s)"
                raise _fault(file, "wrong magic number", header[:4].hex(" ") or "an empty file", expected)
            if len(header) < header_bytes:
                raise _fault(file, "it ends within its header", f"{len(header)} bytes", f"{header_bytes} bytes")
            shape = tuple(int(size) for size in np.frombuffer(header[4:], ">u4"))
            if 0 in shape:
                raise _fault(file, "it is declared empty", f"sizes {shape}", "sizes of at least 1")
            body = _body(stream, math.prod(shape))
    except DAMAGE as fault:
        raise _fault(
            file, "it is damaged or truncated", str(fault) or type(fault).__name__, "a whole IDX file, plain or gzip"
        ) from fault
    if len(body) != math.prod(shape):
        more = "at least " if len(body) > math.prod(shape) else ""
        got = f"{more}{header_bytes + len(body):,} bytes"
        expected = f"{header_bytes + math.prod(shape):,} bytes for the sizes {shape} in its header"
        raise _fault(file, "its length differs from its header", got, expected)
    return np.frombuffer(body, np.uint8).reshape(shape)


def _body(stream: Any, size_bytes: int) -> bytearray:
    """Read at most one byte more than expected: enough to detect an excess, however wrong the header is."""
    body = bytearray()
    while len(body) <= size_bytes and (chunk := stream.read(min(_CHUNK_BYTES, size_bytes + 1 - len(body)))):
        body += chunk
    return body


def _fault(file: Path, what: str, got: str, expected: str) -> DatasetError:
    facts = [("file", file), ("found", got), ("expected", expected)]
    return DatasetError(f"IDX data cannot be read: {what}.", facts, _HINT)
