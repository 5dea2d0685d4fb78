"""Which tasks a runner with several places looks at, and when they begin."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from qatbuild.engine.pools import Pools
from qatbuild.plugin.runner import PoolRunner


class Sweep:
    """Doit's dispatcher of tasks that are all ready."""

    def __init__(self, tasks: int, stage: str = "") -> None:
        self.selected_tasks = [f"task-{number}" for number in range(tasks)]
        self.tasks: dict[str, Any] = {}
        self.generator = self._nodes(SimpleNamespace(name=stage) if stage else None)

    def _nodes(self, stage: SimpleNamespace | None) -> Iterator[Any]:
        for name in reversed(self.selected_tasks):
            yield SimpleNamespace(
                task=SimpleNamespace(name=name, meta={"stage": stage}, teardown=[], execute=lambda _: None)
            )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a sweep; returns its tasks as they began, and how many had been compared with the last build by then."""
    compared: list[str] = []

    def is_stale(_runner: PoolRunner, node: Any, _tasks: Any) -> bool:
        compared.append(node.task.name)
        return True

    monkeypatch.setattr(PoolRunner, "select_task", is_stale)
    monkeypatch.setattr(PoolRunner, "process_task_result", lambda *_: None)

    def run(sweep: Sweep, places: int, pools: Pools) -> tuple[list[str], list[int]]:
        names: list[str] = []
        counts: list[int] = []

        def note(task: Any) -> None:
            names.append(task.name)
            counts.append(len(compared))

        arguments = (None, SimpleNamespace(execute_task=note), False, False, None)
        PoolRunner(*arguments, places=lambda: places, pools=pools, stop=lambda: None).run_tasks(sweep)
        return names, counts

    return run


def test_a_task_begins_before_the_next_one_is_compared(run: Any) -> None:
    _, counts = run(Sweep(100), 4, Pools({}))
    assert counts[:4] == [1, 2, 3, 4]


def test_tasks_begin_in_model_order_whatever_order_doit_has(run: Any) -> None:
    sweep = Sweep(100)
    names, _ = run(sweep, 1, Pools({}))
    assert names == sweep.selected_tasks


def test_each_task_is_compared_once_however_long_it_waits_for_a_pool(run: Any) -> None:
    names, counts = run(Sweep(100, "float"), 101, Pools({"gpu": 1}, {"float": {"gpu": 1}}, 1))
    assert len(names) == 100
    assert counts[-1] == 100
