"""doit's own commands, extended for projects of many folders.

A dodo.py with specs is also searched in parent folders, as with -k. For an unknown name, the nearest name is suggested.
A project with a task called `check` keeps it, although qatbuild has a command of this name: for doit a task must not be
called like a command, so the names of qatbuild's commands are taken from the list before tasks are loaded.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit.cmd_base import DoitCmdBase, check_tasks_exist, tasks_and_deps_iter
from doit.cmd_clean import Clean as DoitClean
from doit.cmd_forget import Forget as DoitForget
from doit.cmd_help import Help as DoitHelp
from doit.cmd_ignore import Ignore as DoitIgnore
from doit.cmd_info import Info as DoitInfo
from doit.cmd_list import List as DoitList
from doit.cmd_resetdep import ResetDep as DoitResetDep
from doit.cmd_strace import Strace as DoitStrace
from doit.cmdparse import CmdOption
from doit.exceptions import InvalidCommand

from qatbuild.exchange.errors import QatbuildError
from qatbuild.plugin.commands.option import JSON
from qatbuild.plugin.invocation import Invocation, current, entered
from qatbuild.plugin.streams import guarded
from qatbuild.schema.nearest import nearest

if TYPE_CHECKING:
    from qatbuild.engine.build import Builder
    from qatbuild.engine.plan import Stage

COMMANDS = (
    "affected", "audit", "check", "cure", "diagnose", "diff", "explain", "gc", "graph", "layers", "metrics", "new",
    "plan", "report", "reproduce", "schema", "sign", "status", "verify", "why",
)  # fmt: skip
"""The commands that qatbuild adds."""


class WithParentSearch(DoitCmdBase):  # type: ignore[misc]
    """Mixin for doit's commands: searches parent folders for the dodo.py, and suggests names for unknown ones."""

    def __init__(self, task_loader: Any, **kwargs: Any) -> None:
        """Called by doit."""
        task_loader.cmd_names = [name for name in task_loader.cmd_names if name not in COMMANDS]
        super().__init__(task_loader=task_loader, **kwargs)

    def get_options(self) -> Any:
        """Called by doit: the options, with -k as the default below a dodo.py that uses qatbuild."""
        options = super().get_options()
        for option in options:
            if option.name == "seek_file":
                option.set_default(is_ours_above())
        return options

    def invocation(self, params: Any, args: list[str]) -> Invocation:  # noqa: ARG002
        """Returns the invocation of this command."""
        return Invocation(tuple(args))

    def execute(self, params: Any, args: list[str]) -> Any:
        """Called by doit: loads the dodo.py and runs the command.

        A build that is interrupted, or whose output pipe is closed, ends with the signal's exit status.
        """
        command = self.invocation(params, args)
        if "outfile" in params:  # doit takes its default when it is imported.
            params["outfile"] = params["outfile"] or sys.stdout
        try:
            with guarded(command), entered(command):
                return super().execute(params, args)
        except InvalidCommand as error:
            name = error.not_found or next(iter(re.findall(r"^'(.*)' is not a task", str(error))), None)
            names = [*(task.name for task in getattr(self, "task_list", ())), *COMMANDS]
            near = nearest(name, names) if name else ""
            raise (_NotFound(error, near) if near else error) from error


class _NotFound(InvalidCommand):  # type: ignore[misc]
    """doit's error with the nearest name."""

    def __init__(self, error: InvalidCommand, near: str) -> None:
        super().__init__(*error.args, not_found=error.not_found)
        self.near = near

    def __str__(self) -> str:
        return f"{super().__str__().rstrip()}\nDid you mean {self.near}?"


def is_ours_above() -> bool:
    """Returns whether the nearest dodo.py, here or in a parent folder, mentions qatbuild.

    doit itself looks only here. A dodo.py above is searched as text, not run: it may belong to another project.
    """
    here = Path.cwd()
    file = next((file for folder in (here, *here.parents) if (file := folder / "dodo.py").is_file()), None)
    if file is None or file.parent == here:
        return file is not None
    try:
        return b"qatbuild" in file.read_bytes()
    except OSError:
        return False


class Clean(WithParentSearch, DoitClean):  # type: ignore[misc]
    """`doit clean`."""

    name = "clean"

    @functools.wraps(DoitClean._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, *arguments: Any, pos_args: list[str] | None = None, **options: Any) -> Any:
        """Called by doit, whose own method cleans no stage of a spec with variants, nor one by its second name."""
        if pos_args and current().sessions:
            pos_args = list(reversed(with_stages(self.task_list, pos_args)))
        return super()._execute(*arguments, pos_args=pos_args, **options)


class Forget(WithParentSearch, DoitForget):  # type: ignore[misc]
    """`doit forget`: a stage counts as never built, in doit's database and on the disk, where the truth is."""

    name = "forget"

    @functools.wraps(DoitForget._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, forget_sub: bool, forget_disable_default: bool, forget_all: bool) -> Any:  # noqa: FBT001
        """Called by doit, whose own method fails if no task is named and the dodo.py has no default."""
        if self.sel_tasks is None:  # type: ignore[has-type]
            self.sel_tasks = [task.name for task in self.task_list if not task.subtask_of]
        tasks = {task.name: task for task in self.task_list}
        check_tasks_exist(tasks, [] if forget_all else self.sel_tasks)
        if current().sessions:
            self.sel_tasks = with_stages(self.task_list, self.sel_tasks)
        names = list(self.sel_tasks)
        if forget_all:
            names = list(tasks)
        elif forget_sub:
            names = [task.name for task in tasks_and_deps_iter(tasks, self.sel_tasks, yield_duplicates=True)]
        elif self.sel_default_tasks and forget_disable_default:
            names = []
        result = super()._execute(forget_sub, forget_disable_default, forget_all)
        for builder, stage in _stages(tasks[name] for name in dict.fromkeys(names)):
            try:
                builder.cleaner.forget(stage)
            except QatbuildError as error:
                raise SystemExit(error.block()) from None
        return result


class Ignore(WithParentSearch, DoitIgnore):  # type: ignore[misc]
    """`doit ignore`."""

    name = "ignore"


class Info(WithParentSearch, DoitInfo):  # type: ignore[misc]
    """`doit info`."""

    name = "info"

    @functools.wraps(DoitInfo._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, pos_args: list[str], **options: Any) -> Any:
        """Called by doit, whose own method fails for an unknown name."""
        check_tasks_exist({task.name: task for task in self.task_list}, pos_args if len(pos_args) == 1 else [])
        return super()._execute(pos_args, **options)


class List(WithParentSearch, DoitList):  # type: ignore[misc]
    """`doit list`."""

    name = "list"
    _rows: list[dict[str, str]] | None = None
    """The listed tasks, with --json."""

    def get_options(self) -> Any:
        """Called by doit: the options, with --json."""
        return [*super().get_options(), CmdOption(JSON)]

    def invocation(self, params: Any, args: list[str]) -> Invocation:
        """Returns the invocation; for more than names and descriptions, in doit's order, every spec is loaded."""
        self._rows = [] if params["json"] else None
        more = any(params[option] for option in ("subtasks", "status", "list_deps")) or params["sort"] != "name"
        return Invocation(tuple(args), lists=not args and not more)

    @functools.wraps(DoitList._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, *arguments: Any, pos_args: list[str] | None = None, **options: Any) -> int:
        """Called by doit. After the list, prints why listed specs cannot be built; returns 1 if there are any."""
        super()._execute(*arguments, pos_args=pos_args, **options)
        if self._rows is not None:
            from qatbuild.plugin.commands.command import write_json  # noqa: PLC0415  It imports the engine.

            write_json({"tasks": self._rows})
        if not current().sessions:
            return 0
        from qatbuild.plugin.tasks import fault_of  # noqa: PLC0415  A build with nothing to do has no tasks.

        listed = [task for task in self.task_list if not pos_args or task.name in pos_args]
        faults = [block for block in dict.fromkeys(map(fault_of, listed)) if block]
        sys.stderr.writelines(f"{block}\n" for block in faults)
        return 1 if faults else 0

    def _print_task(self, template: str, task: Any, status: bool, *arguments: Any) -> None:  # noqa: FBT001
        """Called by doit, whose own method never calls a group up to date, nor what its database does not know."""
        is_ours = status and (current().sessions or self._rows is not None)
        word = self._status(task, {each.name: each for each in self.task_list}) if is_ours else ""
        if self._rows is not None:
            self._rows.append({"name": task.name, "doc": task.doc or "", **({"status": word} if status else {})})
            return
        if is_ours:
            template, status = template.replace("{status}", self.STATUS_MAP[word]), False
        super()._print_task(template, task, status, *arguments)

    @functools.cached_property
    def _statuses(self) -> dict[str, str]:
        return {}

    def _status(self, task: Any, tasks: Mapping[str, Any]) -> str:
        """Returns a task's status in doit's words: of a group, the worst of its tasks."""
        if task.name not in self._statuses:
            self._statuses[task.name] = self._new_status(task, tasks)
        return self._statuses[task.name]

    def _new_status(self, task: Any, tasks: Mapping[str, Any]) -> str:
        if self.dep_manager.status_is_ignore(task):
            return "ignore"
        if _stage(task):
            return "up-to-date" if all(is_current() for is_current, *_ in task.uptodate) else "run"
        if task.actions or not task.task_dep:
            return str(self.dep_manager.get_status(task, tasks).status)
        statuses = {self._status(tasks[name], tasks) for name in task.task_dep}
        return next((each for each in ("error", "run", "up-to-date") if each in statuses), "ignore")


class ResetDep(WithParentSearch, DoitResetDep):  # type: ignore[misc]
    """`doit reset-dep`."""

    name = "reset-dep"


class _TaskBeforeCommand(DoitHelp):  # type: ignore[misc]
    """doit's help, which describes a task called like one of qatbuild's commands instead of the command."""

    def execute(self, params: Any, args: list[str]) -> Any:
        """Called by doit."""
        if len(args) == 1 and args[0] in COMMANDS:
            with contextlib.suppress(Exception):  # A dodo.py that cannot be imported has no tasks; help has commands.
                if DoitCmdBase.execute(self, params, args):
                    return 0
        return super().execute(params, args)


class Help(WithParentSearch, _TaskBeforeCommand):
    """`doit help`."""

    name = "help"


class Strace(WithParentSearch, DoitStrace):  # type: ignore[misc]
    """`doit strace`."""

    name = "strace"


def with_stages(tasks: Iterable[Any], names: Iterable[str]) -> list[str]:
    """Returns task names with those of the stages that groups and second names stand for.

    A label or a spec stands for its own stages, without those that it shares with others: `shared` does for these.
    """
    by_name = {task.name: task for task in tasks}
    return list(dict.fromkeys(each for name in names for each in (name, *_stages_of(name, by_name))))


def _stages_of(name: str, tasks: Mapping[str, Any]) -> list[str]:
    is_alone: dict[str, bool] = {}
    waiting = [name] if name in tasks else []
    while waiting:
        task = tasks[waiting.pop()]
        if stage := _stage(task):
            is_alone[task.name] = stage.home in stage.labels or bool(stage.route)
        elif not task.actions:
            waiting += reversed(task.task_dep)
    return [each for each, alone in is_alone.items() if alone] or list(is_alone)


def _stages(tasks: Iterable[Any]) -> Iterator[tuple[Builder, Stage]]:
    """Yields the stages among tasks, each with its builder."""
    for stage in filter(None, map(_stage, tasks)):
        for session in current().sessions:
            if session.plan.stages.get(stage.id) is stage:
                yield session.builder, stage


def _stage(task: Any) -> Stage | None:
    return (task.meta or {}).get("stage")


def tasks_of_this_dodo(command: Invocation, tasks: Iterable[Any]) -> list[str] | None:
    """Returns the names of a dodo.py's tasks without a prefix; None, which means all to doit, if no task has one."""
    prefixes = {session.prefix for session in command.sessions} - {""}
    names = [task.name for task in tasks]
    unprefixed = [name for name in names if not any(name == each or name.startswith(f"{each}/") for each in prefixes)]
    return unprefixed if unprefixed and len(unprefixed) < len(names) else None
