"""The check of a function of TensorFlow 1 keeps its word. More seeds: QATBUILD_SEEDS=0-500."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.properties import promise
from tests.properties.random_functions import BLOCKS, of_tensorflow

pytestmark = pytest.mark.tf


@pytest.mark.parametrize("seed", promise.seeds(16))
def test_a_function_that_the_check_lets_pass_is_built_as_promised(seed: int, tmp_path: Path) -> None:
    promise.kept(tmp_path, of_tensorflow, seed, lambda: {f"block{number}" for number in range(BLOCKS)} | {"logits"})
