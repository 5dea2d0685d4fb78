"""`doit run`, extended for qatbuild's stages.

It loads only specs that may be stale, locks the build folder, and runs stages side by side with -n. In a project
without specs it behaves as doit's own command.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from doit.action import PythonAction
from doit.cmd_run import Run as DoitRun
from doit.control import TaskControl
from doit.exceptions import InvalidCommand
from doit.task import Stream

from qatbuild.engine.pools import Pools
from qatbuild.plugin.commands.inherited import WithParentSearch, tasks_of_this_dodo
from qatbuild.plugin.invocation import Invocation, current


class Run(WithParentSearch, DoitRun):  # type: ignore[misc]
    """Builds stale stages."""

    name = "run"

    def invocation(self, params: Any, args: list[str]) -> Invocation:
        """Returns the invocation of a build."""
        return Invocation(
            tuple(args),
            builds=True,
            always=bool(params.get("always")),
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
        if not command.projects or not options["num_process"] or options["single"]:
            return super()._execute(*arguments, **options)
        return self._side_by_side(command, **options)

    def _side_by_side(self, command: Invocation, **options: Any) -> int:
        """Runs as doit's own `_execute` does, with a PoolRunner, for which doit has no parameter."""
        from qatbuild.plugin.runner import PoolRunner  # noqa: PLC0415  Only with -n.

        if options["par_type"] not in {"process", "thread"}:
            raise InvalidCommand(f"Invalid parallel type {options['par_type']}")
        PythonAction.pm_pdb = options["pdb"]
        self.control = TaskControl(self.task_list, auto_delayed_regex=options["auto_delayed_regex"])
        self.control.process(self.sel_tasks)
        kind = self.reporters[options["reporter"]] if isinstance(options["reporter"], str) else options["reporter"]
        with contextlib.ExitStack() as stack:
            out = options["outfile"]
            if isinstance(out, str):
                out = stack.enter_context(Path(out).open("w", encoding="utf-8"))
            runner = PoolRunner(
                self.dep_manager,
                kind(out, {"failure_verbosity": options["failure_verbosity"]}),
                options["continue_"],
                options["always"],
                Stream(options["verbosity"], options["force_verbosity"]),
                num_process=options["num_process"],
                pools=_pools(command),
                stop=command.interrupt,
            )
            return int(runner.run_all(self.control.task_dispatcher()))


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


def _pools(command: Invocation) -> Pools:
    """Returns the pools of the project; of several projects, those of the last one."""
    project = command.projects[-1]
    return Pools.of_machine(dict(project.pools), dict(project.takes), project.threads)
