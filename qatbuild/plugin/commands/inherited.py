"""doit's own commands, as doit has them, with what a project of many folders needs.

A dodo.py with specs may stand in a folder above, as with -k. A name that there is not is answered with the nearest. And
a project that has a task called `check` keeps it: the names of qatbuild's commands forbid none.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from doit.cmd_base import DoitCmdBase, check_tasks_exist
from doit.cmd_clean import Clean as DoitClean
from doit.cmd_forget import Forget as DoitForget
from doit.cmd_ignore import Ignore as DoitIgnore
from doit.cmd_info import Info as DoitInfo
from doit.cmd_list import List as DoitList
from doit.cmd_resetdep import ResetDep as DoitResetDep
from doit.exceptions import InvalidCommand

COMMANDS = ("affected", "check", "explain", "gc", "graph", "layers", "plan")
"""The commands that qatbuild adds."""


class Below(DoitCmdBase):  # type: ignore[misc]
    """To be inherited from before a command of doit."""

    def __init__(self, task_loader: Any, **kwargs: Any) -> None:
        """Called by doit."""
        task_loader.cmd_names = [name for name in task_loader.cmd_names if name not in COMMANDS]
        super().__init__(task_loader=task_loader, **kwargs)

    def get_options(self) -> Any:
        """Called by doit: the options, with -k as the default below a dodo.py of ours."""
        options = super().get_options()
        for option in options:
            if option.name == "seek_file":
                option.set_default(is_ours_above())
        return options

    def execute(self, params: Any, args: list[str]) -> Any:
        """Called by doit."""
        try:
            status = super().execute(params, args)
            sys.stdout.flush()
            return status  # noqa: TRY300  A reader that has gone is noticed by the flush.
        except BrokenPipeError:
            if self.name == "run":
                raise
            be_unheard()
            return 0
        except KeyboardInterrupt:
            if self.name == "run":
                raise
            sys.stderr.write("\ninterrupted\n")
            raise SystemExit(128 + signal.SIGINT) from None
        except InvalidCommand as error:
            name = error.not_found or next(iter(re.findall(r"^'(.*)' is not a task", str(error))), None)
            near = nearest(name, (task.name for task in getattr(self, "task_list", ()))) if name else ""
            raise (_NotFound(error, near) if near else error) from error


class _NotFound(InvalidCommand):  # type: ignore[misc]
    """doit's error, and what was most likely meant."""

    def __init__(self, error: InvalidCommand, near: str) -> None:
        super().__init__(*error.args, not_found=error.not_found)
        self.near = near

    def __str__(self) -> str:
        return f"{super().__str__().rstrip()}\nDid you mean {self.near}?"


def is_ours_above() -> bool:
    """Whether the nearest dodo.py, here or in a folder above, speaks of qatbuild: doit itself would look only here.

    That is for its text to tell. To run it would be more than doit does in a folder below a project that is not ours.
    """
    here = Path.cwd()
    file = next((file for folder in (here, *here.parents) if (file := folder / "dodo.py").is_file()), None)
    if file is None or file.parent == here:
        return file is not None
    try:
        return b"qatbuild" in file.read_bytes()
    except OSError:
        return False


def be_unheard() -> None:
    """Whoever reads has read enough (`| head`): write the rest nowhere, or Python complains once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def nearest(name: str, tasks: Iterable[str]) -> str:
    """The task or command that a name is closest to; '' if to none."""
    import difflib  # noqa: PLC0415  A build without mistakes needs none.

    return next(iter(difflib.get_close_matches(name, [*tasks, *COMMANDS], 1, 0.6)), "")


class Clean(Below, DoitClean):  # type: ignore[misc]
    """`doit clean`."""

    name = "clean"


class Forget(Below, DoitForget):  # type: ignore[misc]
    """`doit forget`."""

    name = "forget"

    @functools.wraps(DoitForget._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, *arguments: Any, **options: Any) -> Any:
        """Called by doit, which falls over where nothing is named and there is no default."""
        if self.sel_tasks is None:  # type: ignore[has-type]
            self.sel_tasks = [task.name for task in self.task_list if not task.subtask_of]
        return super()._execute(*arguments, **options)


class Ignore(Below, DoitIgnore):  # type: ignore[misc]
    """`doit ignore`."""

    name = "ignore"


class Info(Below, DoitInfo):  # type: ignore[misc]
    """`doit info`."""

    name = "info"

    @functools.wraps(DoitInfo._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, pos_args: list[str], **options: Any) -> Any:
        """Called by doit, which falls over a name that there is not."""
        check_tasks_exist({task.name: task for task in self.task_list}, pos_args if len(pos_args) == 1 else [])
        return super()._execute(pos_args, **options)


class List(Below, DoitList):  # type: ignore[misc]
    """`doit list`."""

    name = "list"


class ResetDep(Below, DoitResetDep):  # type: ignore[misc]
    """`doit reset-dep`."""

    name = "reset-dep"


def own(loader: Any, tasks: Iterable[Any]) -> list[str] | None:
    """The tasks that are a dodo.py's own, not specs under a prefix; None, which is all, if there are no others."""
    values = (getattr(loader, "namespace", None) or {}).values()
    prefixes = {getattr(getattr(value, "__self__", None), "prefix", "") for value in values} - {""}
    names = [task.name for task in tasks]
    mine = [name for name in names if not any(name == each or name.startswith(f"{each}/") for each in prefixes)]
    return mine if mine and len(mine) < len(names) else None
