"""The dataset kind `call`: the project's own function makes the arrays, which are verified like those of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qatbuild.exchange.errors import DatasetError
from qatbuild.worker import datasets
from qatbuild.worker.datasets.pictures import Pictures
from qatbuild.worker.datasets.source import Source
from tests.hints import follows

Load = Callable[..., datasets.Dataset]

GOOD = """
import numpy as np
def arrays(count=8):
    vectors = np.linspace(-1, 1, 3 * count, dtype="float32").reshape(count, 3)
    return {"train_x": vectors, "test_x": vectors[:2], "train_y": vectors[:, :1], "test_y": vectors[:2, :1]}
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load the dataset of the function `arrays` of a module with some text."""

    def loaded(text: str, **options: object) -> datasets.Dataset:
        name = f"called_{abs(hash(text))}"
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        return datasets.load(Source("call", call=f"{name}:arrays", options=options), tmp_path / "downloads")

    return loaded


def test_the_arrays_are_columns_of_their_splits_and_options_are_arguments(load: Load) -> None:
    dataset = load(GOOD, count=5)
    assert {split: dataset.count(split) for split in dataset.splits} == {"train": 5, "test": 2}
    vectors = dataset.splits["train"]["x"]
    assert not isinstance(vectors, Pictures)
    rows = vectors.read(np.array([4, 0]))
    assert np.allclose(rows, np.linspace(-1, 1, 15).reshape(5, 3)[[4, 0]], atol=1e-6)
    assert rows.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("def arrays():\n    return 1 / 0\n", "ZeroDivisionError"),
        ("other = 1\n", "has no attribute 'arrays'"),
        ("def arrays():\n    return [1]\n", "list"),
        ("def arrays():\n    return {'train_x': [1]}\n", "train_x: list"),
        ("import numpy\ndef arrays():\n    return {1: numpy.zeros(3)}\n", "1: named by int"),
        ("import numpy\ndef arrays():\n    return {'train_x': numpy.array([{}])}\n", "train_x: array of object"),
    ],
)
def test_a_function_that_fails_or_returns_no_arrays_is_named(load: Load, text: str, part: str) -> None:
    with pytest.raises(DatasetError) as caught:
        load(text)
    assert part in caught.value.block()
    assert "called_" in caught.value.block()
    assert follows("It is called as function(**options) and returns a dictionary") in caught.value.block()
    load(GOOD)


def test_arrays_are_verified_like_those_of_a_file_whose_name_is_not_shown(load: Load) -> None:
    with pytest.raises(DatasetError, match="train_y") as caught:
        load(GOOD.replace("vectors[:, :1]", "vectors[:3, :1]"))
    assert [label for label, _ in caught.value.facts][:2] == ["dataset.call", "array"]
    assert ".npz" not in caught.value.block()


def test_arrays_may_be_named_like_the_arguments_of_numpy_savez(load: Load) -> None:
    dataset = load(GOOD.replace('{"train_x"', '{"file": vectors, "train_x"'))
    assert dataset.notes == ("arrays that are not read: file",)
