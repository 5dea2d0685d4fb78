"""Pools: the stages that run at once."""

from __future__ import annotations

import pytest

from qatbuild.engine.pools import Pools


def test_without_pools_nothing_is_limited() -> None:
    pools = Pools({}, threads=8)
    assert [pools.take("float") for _ in range(3)] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("capacity", "running", "fits"),
    [
        ({"gpu": 1}, ["float"], {"quantize": False, "convert": True}),
        ({"gpu": 2}, ["float"], {"quantize": True}),
        ({"cpu": 4}, ["float"], {"quantize": False, "convert": False}),
        ({"cpu": 5}, ["float"], {"quantize": False, "convert": True}),
        ({"memory_gib": 3}, ["float"], {"quantize": False, "evaluate": True}),
    ],
)
def test_a_stage_runs_if_everything_that_it_takes_is_free(
    capacity: dict[str, float], running: list[str], fits: dict[str, bool]
) -> None:
    """Columns: capacities, the running stages (with 4 threads each), and whether another stage may run beside them."""
    for stage, wanted in fits.items():
        pools = Pools(capacity, threads=4)
        taken = [pools.take(name) for name in running]
        assert all(taken)
        assert (pools.take(stage) is not None) is wanted


def test_a_stage_that_takes_more_than_a_pool_has_runs_alone() -> None:
    pools = Pools({"memory_gib": 1}, threads=1)
    taken = pools.take("float")
    assert taken == {"memory_gib": 1}
    assert pools.take("dataset") is None
    pools.give_back(taken)
    assert pools.take("dataset") is not None


def test_the_amounts_of_a_stage_can_be_set() -> None:
    pools = Pools({"gpu": 1, "licence": 1}, {"float": {"gpu": 0.1}, "deploy": {"licence": 1}})
    assert all(pools.take("float") for _ in range(10))
    assert pools.take("float") is None
    assert pools.take("deploy.vela") == {"gpu": 0.0, "licence": 1}
    assert pools.take("deploy.coreml") is None
