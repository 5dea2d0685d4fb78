"""`doit run`, in a project of many folders."""

from __future__ import annotations

import functools
from typing import Any

from doit.cmd_run import Run as DoitRun

from qatbuild.plugin.commands.below import Below, own


class Run(Below, DoitRun):  # type: ignore[misc]
    """Build what is stale."""

    name = "run"

    @functools.wraps(DoitRun._execute)  # noqa: SLF001  doit reads the options' names from the signature.
    def _execute(self, *arguments: Any, **options: Any) -> Any:
        """Called by doit. Specs under a prefix are built when they are named, not by plain doit."""
        if self.sel_tasks is None:  # type: ignore[has-type]
            self.sel_tasks = own(self.loader, self.task_list)
        return super()._execute(*arguments, **options)
