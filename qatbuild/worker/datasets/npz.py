"""The user's own arrays: one .npz file with images and labels of two splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker.datasets import Dataset, Images
from qatbuild.worker.datasets.archive import DAMAGE
from qatbuild.worker.datasets.download import fetch

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
CLASS_NAMES = "class_names"

_HINT = (
    "Write it with numpy.savez(file, train_images=..., train_labels=..., test_images=..., test_labels=...): images "
    "uint8 [n, height, width] or [n, height, width, channels], labels integers [n] from 0 on, and where wanted "
    "class_names, strings [classes]."
)


def load(path: Path | None, url: str | None, sha256: str | None, downloads: Path) -> Dataset:
    """Load train_images, train_labels, test_images, test_labels and perhaps class_names from an .npz file.

    Images: uint8 [n, height, width] (one channel) or [n, height, width, channels]. Labels: any integer type [n],
    0..classes - 1. Without class_names, the training labels must contain every class 0..classes - 1.
    Without `path` the file comes from `url`, which needs a `sha256`. Pickled objects are never loaded.

    Raises DatasetError with the file, the array and what was expected.
    """
    if path is None:
        if url is None or sha256 is None:
            raise DatasetError(
                "The dataset npz needs a file.",
                [
                    ("dataset.path", "missing"),
                    ("dataset.url", url or "missing"),
                    ("dataset.sha256", sha256 or "missing"),
                ],
                'Give "path", or "url" and "sha256" together.',
            )
        path = fetch(url, sha256, downloads)
    arrays = _read(path)
    train_images, test_images = (_images(path, arrays, name) for name in ("train_images", "test_images"))
    if train_images.shape[1:] != test_images.shape[1:]:
        got, expected = f"[n, {_sizes(test_images)}]", f"[n, {_sizes(train_images)}], as train_images"
        raise _fault(path, "test_images", "test and training images differ in shape", got, expected)
    train_labels = _labels(path, arrays, "train_labels", len(train_images))
    test_labels = _labels(path, arrays, "test_labels", len(test_images))
    class_names = _class_names(path, arrays, train_labels)
    for name, labels in (("train_labels", train_labels), ("test_labels", test_labels)):
        if labels.max() >= len(class_names):
            got, expected = f"the label {labels.max()}", f"labels 0..{len(class_names) - 1}"
            raise _fault(path, name, "a label is not a class", got, expected)
    return Dataset(train_images, train_labels.astype(np.int32), test_images, test_labels.astype(np.int32), class_names)


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    name = "(none yet)"
    try:
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise _fault(path, "all", "it holds one array, not an archive", "a .npy file", "a .npz file")
            missing = [wanted for wanted in ARRAYS if wanted not in archive.files]
            if missing:
                got = ", ".join(archive.files[:8]) or "nothing"
                raise _fault(path, ", ".join(missing), "arrays are missing", f"only {got}", ", ".join(ARRAYS))
            arrays = {}
            for name in (*ARRAYS, CLASS_NAMES):
                if name in archive.files:
                    arrays[name] = archive[name]
                    if not isinstance(arrays[name], np.ndarray):
                        raise _fault(path, name, "a member is not an array", "other bytes", "a NumPy array")
            return arrays
    except DAMAGE as fault:
        expected = "an undamaged .npz file without pickled objects"
        raise _fault(
            path, name, "it is damaged, or not an .npz file", str(fault) or type(fault).__name__, expected
        ) from fault


def _images(path: Path, arrays: dict[str, npt.NDArray[Any]], name: str) -> Images:
    images = arrays[name]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        expected = "uint8 [n, height, width] or [n, height, width, channels], no size 0"
        raise _fault(path, name, "images of another kind", f"{images.dtype} {list(images.shape)}", expected)
    return np.ascontiguousarray(images.reshape(*images.shape[:3], -1))


def _labels(path: Path, arrays: dict[str, npt.NDArray[Any]], name: str, count: int) -> npt.NDArray[Any]:
    labels = arrays[name]
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        got = f"{labels.dtype} {list(labels.shape)}"
        raise _fault(path, name, "labels of another kind", got, f"integers [{count}], one for each image")
    if labels.min() < 0:
        raise _fault(path, name, "a label is negative", f"the label {labels.min()}", "labels from 0 on")
    return labels


def _class_names(path: Path, arrays: dict[str, npt.NDArray[Any]], train_labels: npt.NDArray[Any]) -> tuple[str, ...]:
    if CLASS_NAMES not in arrays:
        present = np.unique(train_labels)
        if present[-1] != len(present) - 1:
            gap = int(np.flatnonzero(present != np.arange(len(present)))[0])
            got = f"labels up to {present[-1]}, but without {gap}"
            expected = "every class in training, or class_names to say how many there are"
            raise _fault(path, "train_labels", "a class has no training images", got, expected)
        return tuple(str(label) for label in range(len(present)))
    names = arrays[CLASS_NAMES]
    if names.dtype.kind != "U" or names.ndim != 1 or len(names) == 0 or len(set(names.tolist())) != len(names):
        got = f"{names.dtype} {list(names.shape)}"
        raise _fault(path, CLASS_NAMES, "class names of another kind", got, "strings [classes], no two the same")
    if broken := [name for name in names.tolist() if name.splitlines() != [name]]:
        raise _fault(
            path, CLASS_NAMES, "a class name is not one line of text", repr(broken[0]), "a line each, none empty"
        )
    return tuple(names.tolist())


def _sizes(images: Images) -> str:
    return ", ".join(map(str, images.shape[1:]))


def _fault(path: Path, array: str, what: str, got: str, expected: str) -> DatasetError:
    facts = [("file", path), ("array", array), ("found", got), ("expected", expected)]
    return DatasetError(f"The arrays cannot be used: {what}.", facts, _HINT)
