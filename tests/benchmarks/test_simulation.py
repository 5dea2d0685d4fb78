"""The simulation of large sweeps keeps account: nothing is lost, done twice, or done faster than it can be."""

from __future__ import annotations

import pytest

from tests.benchmarks.simulation import (
    ADVICE,
    CHAIN,
    CLIENT,
    NETWORK,
    Assumed,
    Costs,
    Resource,
    Simulation,
    Sweep,
    most_workers,
)

COSTS = Costs(client_s=0.02, scheduler_s=0.005, server_s=0.01, worker_s=0.05, byte_s=1e-9)
FREE = Costs(0, 0, 0, 0, 0)
EXACT = Assumed(network_bytes_s=1e18, spread=0)


@pytest.mark.parametrize(("variants", "workers"), [(1, 1), (7, 3), (40, 8), (5, 50)])
def test_every_stage_is_built_once_and_no_worker_does_two_at_a_time(variants: int, workers: int) -> None:
    outcome = Simulation(Sweep.of_trainings(variants, workers, 10), COSTS).run()
    assert outcome.begun == outcome.finished == variants * len(CHAIN)
    assert outcome.most_at_once <= workers
    assert all(0 < share <= 1 for share in outcome.busy.values())
    assert 0 < outcome.workers_busy <= 1


def test_without_costs_a_sweep_takes_the_work_of_one_worker() -> None:
    sweep = Sweep.of_trainings(30, 10, 10)
    chain_s = sum(sweep.work_s.values())
    assert Simulation(sweep, FREE, EXACT).run().seconds == pytest.approx(3 * chain_s)


def test_a_sweep_is_never_faster_than_its_busiest_resource() -> None:
    sweep = Sweep.of_trainings(50, 1000, 1)
    outcome = Simulation(sweep, COSTS, EXACT).run()
    assert outcome.seconds >= 50 * len(CHAIN) * COSTS.client_s
    assert outcome.busiest == CLIENT


def test_beyond_the_number_at_which_a_resource_saturates_more_workers_do_not_help() -> None:
    limit = most_workers(Sweep.of_trainings(1, 1, 20), COSTS, EXACT)[CLIENT]
    few, enough, more = (
        Simulation(Sweep.of_trainings(600, round(factor * limit), 20), COSTS, EXACT).run().seconds
        for factor in (0.5, 2, 4)
    )
    assert few > 1.5 * enough
    assert more > 0.8 * enough


def test_a_slow_network_is_what_saturates() -> None:
    slow = Assumed(network_bytes_s=1e6)
    limits = most_workers(Sweep.of_trainings(1, 1, 20), COSTS, slow)
    assert min(limits, key=lambda name: limits[name]) == NETWORK
    assert Simulation(Sweep.of_trainings(20, 50, 20), COSTS, slow).run().busiest == NETWORK
    assert set(limits) == set(ADVICE)


def test_equal_seeds_make_equal_sweeps_and_others_do_not() -> None:
    sweep = Sweep.of_trainings(10, 3, 10)
    first, again, other = (Simulation(sweep, COSTS, seed=seed).run() for seed in (1, 1, 2))
    assert first == again
    assert first.seconds != other.seconds


def test_a_resource_serves_one_after_the_other() -> None:
    resource = Resource()
    assert [resource.serve(0, 2), resource.serve(1, 2), resource.serve(10, 2)] == [2, 4, 12]
    assert resource.busy_s == 6
