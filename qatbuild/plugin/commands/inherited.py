"""doit's own commands, extended for projects of many folders.

A dodo.py with specs is also searched in parent folders, as with -k. For an unknown name, the nearest name is suggested.
A project with a task called `check` keeps it, although qatbuild has a command of this name: for doit a task must not be
called like a command, so the names of qatbuild's commands are taken from the list before tasks are loaded.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from doit.cmd_base import DoitCmdBase, check_tasks_exist
from doit.cmd_clean import Clean as DoitClean
from doit.cmd_completion import TabCompletion as DoitTabCompletion
from doit.cmd_forget import Forget as DoitForget
from doit.cmd_help import Help as DoitHelp
from doit.cmd_ignore import Ignore as DoitIgnore
from doit.cmd_info import Info as DoitInfo
from doit.cmd_list import List as DoitList
from doit.cmd_resetdep import ResetDep as DoitResetDep
from doit.cmd_strace import Strace as DoitStrace
from doit.exceptions import InvalidCommand

from qatbuild.plugin.invocation import Invocation, entered
from qatbuild.plugin.streams import guarded
from qatbuild.schema.nearest import nearest

COMMANDS = ("affected", "check", "explain", "gc", "graph", "layers", "plan")
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


class Forget(WithParentSearch, DoitForget):  # type: ignore[misc]
    """`doit forget`."""

    name = "forget"

    @functools.wraps(DoitForget._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, *arguments: Any, **options: Any) -> Any:
        """Called by doit, whose own method fails if no task is named and the dodo.py has no default."""
        if self.sel_tasks is None:  # type: ignore[has-type]
            self.sel_tasks = [task.name for task in self.task_list if not task.subtask_of]
        return super()._execute(*arguments, **options)


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

    def invocation(self, params: Any, args: list[str]) -> Invocation:
        """Returns the invocation; for more than names and descriptions, in doit's order, every spec is loaded."""
        more = any(params[option] for option in ("subtasks", "status", "list_deps")) or params["sort"] != "name"
        return Invocation(tuple(args), lists=not args and not more)


class ResetDep(WithParentSearch, DoitResetDep):  # type: ignore[misc]
    """`doit reset-dep`."""

    name = "reset-dep"


class Help(WithParentSearch, DoitHelp):  # type: ignore[misc]
    """`doit help`."""

    name = "help"


class Strace(WithParentSearch, DoitStrace):  # type: ignore[misc]
    """`doit strace`."""

    name = "strace"


class TabCompletion(WithParentSearch, DoitTabCompletion):  # type: ignore[misc]
    """`doit tabcompletion`."""

    name = "tabcompletion"


def tasks_of_this_dodo(command: Invocation, tasks: Iterable[Any]) -> list[str] | None:
    """Returns the names of a dodo.py's tasks without a prefix; None, which means all to doit, if no task has one."""
    prefixes = {session.prefix for session in command.sessions} - {""}
    names = [task.name for task in tasks]
    mine = [name for name in names if not any(name == each or name.startswith(f"{each}/") for each in prefixes)]
    return mine if mine and len(mine) < len(names) else None
