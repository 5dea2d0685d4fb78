"""What the server of workers keeps out of Python's search for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from qatbuild.worker.server import without_collection


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the collector as it was."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_an_import_made_is_not_searched_again() -> None:
    with without_collection():
        assert not gc.isenabled()
        made: list[list[int]] = [[] for _ in range(1000)]
    assert gc.get_freeze_count() >= len(made)
    assert not any(each is made for each in gc.get_objects())


def test_what_a_stage_makes_later_is_collected() -> None:
    with without_collection():
        pass
    assert gc.isenabled()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1


def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), without_collection():
        raise ImportError
    assert gc.isenabled()
