"""Data for one spec of each task, made of what scikit-learn ships: no downloads, the same arrays on every machine.

Each function returns arrays by name, train_NAME and test_NAME, as an .npz file for qatbuild would hold them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

Arrays = dict[str, NDArray[Any]]

_SEED = 20260101
_TEST_EVERY = 5
_INK = 64


def diabetes() -> Arrays:
    """Return 442 patients: ten standardized measurements, float32 [n, 10], and the disease's progress in a year."""
    source = load_diabetes()
    features = (source.data / source.data.std(axis=0)).astype(np.float32)
    return _split({"features": features, "progress": source.target.astype(np.float32)[:, None]})


def tumours() -> Arrays:
    """Return 569 tumours: thirty standardized measurements of their cells, float32 [n, 30]; malignant (0) or benign."""
    source = load_breast_cancer()
    features = ((source.data - source.data.mean(axis=0)) / source.data.std(axis=0)).astype(np.float32)
    rows = _split({"features": features, "labels": source.target.astype(np.int32)})
    return {**rows, "class_names": np.array(source.target_names)}


def series() -> Arrays:
    """Return 1797 digits as series, pixel after pixel: standardized real values, float32 [n, 64, 1], and the digit.

    As sequential MNIST does it (Le, Jaitly, Hinton 2015, arXiv:1504.00941).
    """
    pixels, labels = _digits()
    values = pixels.reshape(-1, 64, 1).astype(np.float32)
    return _split({"values": (values - values.mean()) / values.std(), "labels": labels})


def till() -> Arrays:
    """Return what a greengrocer's till knows of 1797 bags: the product's digit on a label, and what scales read.

    images    the digit, uint8 [n, 8, 8, 1]
    scales    weight with the bag and weight of the bag, kg, float32 [n, 2]
    product   which digit it is, int32 [n]
    price     of the product, euros, float32 [n, 1]: 1 to 5.5 euros a kg, dearer by the digit
    """
    pixels, labels = _digits()
    random = np.random.Generator(np.random.Philox(_SEED))
    bag, weight = random.uniform(0, 0.5, len(labels)), random.uniform(0.1, 2, len(labels))
    scales = np.stack([weight + bag, bag], axis=1).astype(np.float32)
    price = (weight * (1 + labels / 2)).astype(np.float32)
    columns = {"images": pixels[..., None], "scales": scales, "product": labels, "price": price[:, None]}
    return _split(columns)


def anomalies(normal: int = 5) -> Arrays:
    """Return digits as bytes [n, 64]: below `normal` for training; for testing all, with the label 1 from there on."""
    pixels, labels = _digits()
    rows = _split({"pixels": pixels.reshape(-1, 64), "labels": (labels >= normal).astype(np.int32)})
    is_normal = rows["train_labels"] == 0
    rows = {name: each[is_normal] if name.startswith("train_") else each for name, each in rows.items()}
    return {**rows, "class_names": np.array(["normal", "anomalous"])}


def scenes(examples: int = 3000, size_px: int = 32, most_digits: int = 3) -> Arrays:
    """Return pictures uint8 [n, size, size, 1] of one to three digits on noise, and what is to be seen in them.

    digits   whether each of 0..9 is there, int32 [n, 10]
    mask     a class for each pixel, int32 [n, size, size]: 0 for the background, 1 + digit
    objects  boxes [n, most, 4] (ymin, xmin, ymax, xmax in 0..1) and classes [n, most], -1 where there are fewer
    """
    pixels, labels = _digits()
    random = np.random.Generator(np.random.Philox(_SEED))
    images = random.integers(0, 40, (examples, size_px, size_px), np.uint8)
    mask = np.zeros((examples, size_px, size_px), np.int32)
    boxes = np.zeros((examples, most_digits, 4), np.float32)
    classes = np.full((examples, most_digits), -1, np.int32)
    cell_px = size_px // 2
    for index in range(examples):
        # Each digit has a quarter of the picture, so that none covers another.
        cells = random.permutation(4)[: random.integers(1, most_digits, endpoint=True)]
        for place, cell in enumerate(cells):
            chosen = int(random.integers(len(pixels)))
            digit = pixels[chosen].repeat(1 + int(random.integers(0, 2)), axis=0)
            digit = digit.repeat(digit.shape[0] // 8, axis=1)
            high, wide = digit.shape
            top, left = (random.integers(0, cell_px - side, endpoint=True) for side in (high, wide))
            top, left = int(top) + cell_px * int(cell // 2), int(left) + cell_px * int(cell % 2)
            spot = np.s_[index, top : top + high, left : left + wide]
            images[spot] = np.maximum(images[spot], digit)
            mask[spot] = np.where(digit > _INK, 1 + labels[chosen], mask[spot])
            boxes[index, place] = np.array([top, left, top + high, left + wide]) / size_px
            classes[index, place] = labels[chosen]
    digits = (classes[:, :, None] == np.arange(10)).any(axis=1).astype(np.int32)
    columns = {"images": images[..., None], "digits": digits, "mask": mask}
    return _split({**columns, "objects_boxes": boxes, "objects_classes": classes})


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    source = load_digits()
    return np.rint(source.images * (255 / 16)).astype(np.uint8), source.target.astype(np.int32)


def _split(columns: Arrays) -> Arrays:
    """Return every fifth example for testing, and the others for training."""
    is_test = np.arange(len(next(iter(columns.values())))) % _TEST_EVERY == 0
    parts = {"train": ~is_test, "test": is_test}
    return {f"{part}_{name}": each[rows] for part, rows in parts.items() for name, each in columns.items()}
