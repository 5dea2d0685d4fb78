"""What the server of workers leaves out of TensorFlow's import."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest

from qatbuild.worker.server import without_scikit_learn


def test_scikit_learn_is_absent_while_keras_looks_for_it_and_there_for_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    with without_scikit_learn(), pytest.raises(ImportError):
        importlib.import_module("sklearn")
    assert importlib.util.find_spec("sklearn") is not None
    assert "sklearn" not in sys.modules


def test_a_scikit_learn_that_was_imported_before_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", sys)
    with without_scikit_learn():
        assert importlib.import_module("sklearn") is sys
    assert sys.modules["sklearn"] is sys


def test_an_import_that_fails_leaves_scikit_learn_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    with pytest.raises(RuntimeError), without_scikit_learn():
        raise RuntimeError
    assert "sklearn" not in sys.modules
