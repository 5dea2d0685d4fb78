"""`doit run`, extended for qatbuild's stages.

It loads only specs that may be stale, locks the build folder, and runs stages side by side with -n. In a project
without specs it behaves as doit's own command.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from doit.action import PythonAction
from doit.cmd_run import Run as DoitRun
from doit.control import TaskControl
from doit.exceptions import InvalidCommand
from doit.runner import Runner
from doit.task import Stream

from qatbuild.engine.execute import Spread
from qatbuild.engine.executor_name import executor_name
from qatbuild.engine.pools import Pools
from qatbuild.exchange.errors import SpecError
from qatbuild.plugin.commands.inherited import WithParentSearch, tasks_of_this_dodo
from qatbuild.plugin.commands.option import option
from qatbuild.plugin.invocation import Invocation, current

_EXECUTOR = option(
    "executor", "", "where stages run: local, dask (a cluster of this machine), dask://HOST:PORT (a scheduler)"
)

_ARTIFACTS = option("artifacts", "needed", "what is fetched from a cache on another machine") | {
    "choices": (
        ("needed", "leave datasets and checkpoints in the cache until a stage needs them"),
        ("all", "fetch them"),
    )
}

_EVENTS = option("events", "", "a file or FIFO that gets one JSON object a line for each event of the build")


class Run(WithParentSearch, DoitRun):  # type: ignore[misc]
    """Builds stale stages."""

    name = "run"
    cmd_options = (*DoitRun.cmd_options, _EXECUTOR, _ARTIFACTS, _EVENTS)

    def invocation(self, params: Any, args: list[str]) -> Invocation:
        """Returns the invocation of a build."""
        return Invocation(
            tuple(args),
            builds=True,
            always=bool(params.get("always")),
            whole=params.get("artifacts") == "all",
            executor=_executor_name(params.get("executor") or ""),
            events=params.get("events") or "",
            namespace=lambda: getattr(self.loader, "namespace", {}),
        )

    @functools.wraps(DoitRun._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, *arguments: Any, **options: Any) -> Any:
        """Called by doit. A plain `doit` does not build specs with a prefix, unless they are named."""
        command = current()
        command.resume_garbage_collection()
        if self.sel_tasks is None:  # type: ignore[has-type]
            self.sel_tasks = tasks_of_this_dodo(command, self.task_list)
        elif command.projects:
            self.sel_tasks = _faulty_last(self.sel_tasks, self.task_list, command)
        if not command.projects or options["single"]:
            return super()._execute(*arguments, **options)
        return self._model_by_model(command, **options)

    def _model_by_model(self, command: Invocation, **options: Any) -> int:
        """Runs as doit's own `_execute` does, in another order, and with -n in a PoolRunner.

        doit has a parameter for neither. Of several groups it would run the first sub-task of each, then the second.
        """
        if options["par_type"] not in {"process", "thread"}:
            raise InvalidCommand(f"Invalid parallel type {options['par_type']}")
        PythonAction.pm_pdb = options["pdb"]
        self.control = TaskControl(self.task_list, auto_delayed_regex=options["auto_delayed_regex"])
        self.control.process(self.sel_tasks)
        self.control.selected_tasks = in_depth(self.control.tasks, self.control.selected_tasks)
        kind = self.reporters[options["reporter"]] if isinstance(options["reporter"], str) else options["reporter"]
        with contextlib.ExitStack() as stack:
            out = options["outfile"]
            if isinstance(out, str):
                out = stack.enter_context(Path(out).open("w", encoding="utf-8"))
            runner = _runner(command, int(options["num_process"]))(
                self.dep_manager,
                kind(out, {"failure_verbosity": options["failure_verbosity"]}),
                options["continue_"],
                options["always"],
                Stream(options["verbosity"], options["force_verbosity"]),
            )
            return int(runner.run_all(self.control.task_dispatcher()))


def _executor_name(name: str) -> str:
    try:
        return executor_name(name, "--executor") if name else ""
    except SpecError as error:
        raise InvalidCommand(error.block()) from error


def _faulty_last(names: list[str], tasks: Iterable[Any], command: Invocation) -> list[str]:
    """Returns selected names with specs with faults after all others: doit stops after the first failure."""
    from qatbuild.plugin.tasks import is_faulty  # noqa: PLC0415  A build with nothing to do has none.

    faulty = {task.name for task in tasks if is_faulty(task)}
    if not faulty or any(name.startswith("-") for name in names):  # An option belongs to the task before it.
        return names
    # doit would begin with the shortest way down from a prefix, which is that to a spec with faults.
    whole = {each.prefix: map(each.task, each.plan.labels) for each in command.sessions if each.prefix in names}
    faulty.update(whole)
    return sorted([*names, *itertools.chain.from_iterable(whole.values())], key=faulty.__contains__)


def in_depth(tasks: Mapping[str, Any], selected: Iterable[str]) -> list[str]:
    """Returns the selected tasks and all that they depend on, dependencies first: one model to its end after another.

    Running all trainings first would delay every result, and every failure, to the end.
    """
    order: dict[str, None] = {}
    seen: set[str] = set()
    for name in selected:
        waiting = [(name, iter(tasks[name].task_dep))]
        while waiting:
            task, deps = waiting[-1]
            dep = next((each for each in deps if each not in seen and each in tasks), None)
            if dep is None:
                waiting.pop()
                order.setdefault(task)
            else:
                seen.add(dep)
                waiting.append((dep, iter(tasks[dep].task_dep)))
    return list(order)


def _runner(command: Invocation, places: int) -> Callable[..., Runner]:
    """Returns the class of the runner: doit's own, or one that runs stages side by side, with -n or on a cluster."""
    spread = next((each for each in command.executors if isinstance(each, Spread)), None)
    if not places and spread is None:
        return functools.partial(Runner)
    from qatbuild.plugin.runner import PoolRunner  # noqa: PLC0415  Only here.

    return functools.partial(
        PoolRunner,
        places=spread.places if spread and not places else lambda: places,
        pools=Pools({}) if spread else _pools(command),  # A cluster's workers say what they have room for.
        stop=command.interrupt,
    )


def _pools(command: Invocation) -> Pools:
    """Returns the pools of the project; of several projects, those of the last one."""
    project = command.projects[-1]
    return Pools.of_machine(dict(project.pools), dict(project.takes), project.threads)
