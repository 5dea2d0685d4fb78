"""The check of a Keras model keeps its word. More seeds: QATBUILD_SEEDS=0-500."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from tests.properties import promise
from tests.properties.random_networks import of_keras

pytestmark = pytest.mark.tf


@pytest.mark.parametrize("seed", promise.seeds(12))
def test_a_keras_model_that_the_check_lets_pass_is_built_as_promised(seed: int, tmp_path: Path) -> None:
    def layers() -> set[str]:
        return {each.name for each in of_keras(keras.Input(promise.SHAPE), 10, training=False, seed=seed).operations}

    promise.kept(tmp_path, of_keras, seed, layers)
